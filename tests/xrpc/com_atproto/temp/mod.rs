mod check_signup_queue;
