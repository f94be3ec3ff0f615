mod register_push;
