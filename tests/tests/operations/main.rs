//! What a request asked of others, against what those counted themselves. One file per kind of server.

mod connections;
mod conversations;
mod many;
mod memcached;
mod postgres;
mod redis;
mod setting;
mod times;
