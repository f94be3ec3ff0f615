mod invite_codes;
mod update_account_handle;
