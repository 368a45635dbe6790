//! Web pages must not use what a browser has of its own: the role of this machine's users, a login's cookie.
//!
//! A page of somebody else's that an operator has open can send requests to any address that the browser reaches. It cannot read
//! the answers, since no cross-origin headers are sent, but what a request changes is changed. And by a name of its own that it
//! lets lead to 127.0.0.1 (DNS rebinding) it could read them too. A token that a request carries is nobody's but the sender's:
//! such requests are not looked at.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::Request,
    http::{
        HeaderMap, Method, StatusCode, Uri,
        header::{AUTHORIZATION, HOST, ORIGIN},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{caller::Caller, problem::Problem};

/// What a browser says of where a request comes from.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Refuses what a foreign page sends.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Arc<Caller>>();
    let is_rebindable = caller.is_some_and(|caller| {
        matches!(caller.origin, super::Origin::Ip(ip) if ip.is_loopback()) && !caller.is_encrypted
    });
    match judge(
        request.method(),
        request.uri(),
        request.headers(),
        is_rebindable,
    ) {
        Ok(()) => next.run(request).await,
        Err(why) => Problem::new(StatusCode::FORBIDDEN, "CROSS_ORIGIN", why).into_response(),
    }
}

/// `Err`: why it is refused. `is_rebindable`: over plain TCP from this machine, where nothing but the name that was called tells a
/// page of ours from one of somebody else's.
fn judge(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    is_rebindable: bool,
) -> Result<(), String> {
    if headers.contains_key(AUTHORIZATION) || matches!(uri.path(), "/livez" | "/readyz") {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => text(HOST.as_str()),
    };
    if let Some(host) = host
        && is_rebindable
        && !is_of_this_machine(host)
    {
        return Err(format!(
            "Host {host:?}: here the daemon is called localhost, by its IP address or by this machine's name; send one of those, or a token"
        ));
    }
    if method.is_safe() {
        return Ok(());
    }
    match (text(SEC_FETCH_SITE), text(ORIGIN.as_str())) {
        (Some("same-origin" | "none"), _) | (None, None) => Ok(()),
        (Some(site), _) => Err(format!(
            "Sec-Fetch-Site {site}: pages of other sites may not do this; send a token instead"
        )),
        (None, Some(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            match authority.is_some() && authority == host {
                true => Ok(()),
                false => Err(format!(
                    "Origin {origin:?}: pages of other sites may not do this; send a token instead"
                )),
            }
        }
    }
}

/// A name cannot be made to lead here by somebody else if it is none: an IP address; or where it is this machine's own.
fn is_of_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let own = rustix::system::uname();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok()
        || own
            .nodename()
            .to_str()
            .is_ok_and(|own| own.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(method: &str, headers: &[(&'static str, &str)], is_rebindable: bool) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let uri = Uri::from_static("/v1/segment");
        judge(&method.parse().unwrap(), &uri, &headers, is_rebindable).is_ok()
    }

    #[test]
    fn a_name_that_somebody_else_can_turn_this_way_is_refused_on_loopback() {
        for (host, good) in [
            ("localhost:9464", true),
            ("127.0.0.1:9464", true),
            ("[::1]:9464", true),
            ("LOCALHOST.", true),
            ("cells.localhost", true),
            ("evil.example:9464", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(allowed("GET", &[("host", host)], true), good, "{host}");
            assert!(allowed("GET", &[("host", host)], false), "{host}");
            let with_token = [("host", host), ("authorization", "Bearer x")];
            assert!(allowed("GET", &with_token, true), "{host}");
        }
        assert!(allowed("GET", &[], true), "HTTP/1.0 has no host");
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let host = ("host", "127.0.0.1:9464");
        for (more, good) in [
            (&[][..], true),
            (&[("origin", "http://127.0.0.1:9464")], true),
            (&[("origin", "http://127.0.0.1:8000")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("authorization", "Bearer x"),
                ],
                true,
            ),
        ] {
            let headers = [&[host], more].concat();
            for method in ["POST", "PATCH", "DELETE"] {
                assert_eq!(allowed(method, &headers, true), good, "{method} {more:?}");
            }
            assert!(allowed("GET", &headers, true), "{more:?}");
        }
    }
}
