//! What a request asked of others, against what those counted themselves. One file per kind of server.

mod admin;
mod browser;
mod connections;
mod conversations;
mod everywhere;
mod kinto;
mod many;
mod memcached;
mod mysql;
mod postgres;
mod redis;
mod setting;
mod times;
mod truth;
