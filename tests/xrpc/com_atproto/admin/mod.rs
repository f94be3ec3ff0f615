mod invite_codes;
mod send_email;
