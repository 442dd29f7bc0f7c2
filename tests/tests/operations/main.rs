//! What a request asked of others, against what those counted themselves. One file per kind of server.

mod postgres;
mod redis;
mod setting;
mod sqlite;
mod tls;
