mod get_actor_likes;
mod get_author_feed;
mod get_feed;
mod get_post_thread;
mod get_timeline;
