mod invite_codes;
