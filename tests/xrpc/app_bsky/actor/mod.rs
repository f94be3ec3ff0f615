mod get_preferences;
mod get_profile;
mod get_profiles;
mod put_preferences;
