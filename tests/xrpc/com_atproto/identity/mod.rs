mod resolve_handle;
