//! The least of a browser: cookies, forms, redirects that are told and not followed, a header with the
//! request's identity.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};
use whyslow_tests::http::{Client, Response};

/// One user of one site.
#[derive(Debug)]
pub(crate) struct Browser {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
    /// Headers of each request.
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Browser {
    pub(crate) fn new(port: u16) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// Asks for a page, and expects one of these answers.
    pub(crate) fn get(&mut self, path: &str, key: &str, status: u16) -> Result<String> {
        self.ask("GET", path, key, None, status)
    }

    /// Sends a form, with the token of the page that it came with.
    pub(crate) fn post(
        &mut self,
        path: &str,
        key: &str,
        page: &str,
        fields: &[(&str, &str)],
    ) -> Result<String> {
        let token = page
            .split_once("name=\"csrfmiddlewaretoken\" value=\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .context("a form with a token")?;
        let mut form = format!("csrfmiddlewaretoken={}", escape(token.0));
        for (name, value) in fields {
            write!(form, "&{}={}", escape(name), escape(value))?;
        }
        let body = ("application/x-www-form-urlencoded", form.as_str());
        // The site answers a form that it took with a way to go on.
        self.ask("POST", path, key, Some(body), 302)
    }

    /// Any request; `body` with its type.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        key: &str,
        body: Option<(&str, &str)>,
        status: u16,
    ) -> Result<String> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {key}\r\nConnection: close\r\n"
        );
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        if !cookies.is_empty() {
            write!(head, "Cookie: {}\r\n", cookies.join("; "))?;
        }
        let (kind, text) = body.unwrap_or_default();
        if body.is_some() {
            write!(
                head,
                "Content-Type: {kind}\r\nContent-Length: {}\r\n",
                text.len()
            )?;
        }
        let mut client = Client::open(self.address)?;
        client.send(format!("{head}\r\n{text}").as_bytes())?;
        let response = client.response(true)?;
        self.keep_cookies(&response);
        let page = String::from_utf8_lossy(&response.body).into_owned();
        ensure!(
            response.status == status,
            "{method} {path}: {}\n{page}",
            response.head
        );
        Ok(page)
    }

    fn keep_cookies(&mut self, response: &Response) {
        for line in response.head.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let cookie = value
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='));
            if name.eq_ignore_ascii_case("set-cookie")
                && let Some((name, value)) = cookie
            {
                self.cookies
                    .insert(name.trim().to_owned(), value.to_owned());
            }
        }
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
