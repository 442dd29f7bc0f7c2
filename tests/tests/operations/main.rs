//! What a request asked of others, against what those counted themselves. One file per kind of server.

mod admin;
mod browser;
mod connections;
mod conversations;
mod dns;
mod everywhere;
mod far;
mod fibers;
mod http;
mod kinto;
mod many;
mod memcached;
mod mysql;
mod openssl;
mod postgres;
mod redis;
mod rows;
mod setting;
mod sqlite;
mod times;
mod tls;
mod took;
mod truth;
mod unknown;
