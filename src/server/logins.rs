//! Who has logged in to the page: a cookie in place of a token, for reading only.
//!
//! A cookie stands for the hash of the token that was typed in, so it is worth something only as long as that token is: both are
//! looked up at every call. The cookies themselves are kept as hashes too.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header::COOKIE};
use uuid::Uuid;

use crate::config::Digest;

/// How long a login holds.
const HOLDS: Duration = Duration::from_secs(12 * 3600);

/// Logins at the same time; of more the oldest goes.
const MOST: usize = 256;

/// Logins that hold.
pub(super) struct Logins {
    /// Cookies belong to a host, whatever the port: daemons beside one another have names of their own.
    name: String,
    held: Mutex<Vec<Login>>,
}

struct Login {
    /// Of the cookie's value.
    id: Digest,
    /// Of the token.
    token: Digest,
    until: Instant,
}

impl Default for Logins {
    fn default() -> Self {
        let random = Uuid::new_v4().simple().to_string();
        Logins {
            name: format!("cellsegd-{}", &random[..8]),
            held: Mutex::default(),
        }
    }
}

impl Logins {
    /// Somebody has shown the token of this hash. The header that gives the cookie.
    pub(super) fn open(&self, token: Digest, is_encrypted: bool, now: Instant) -> String {
        // 244 random bits.
        let id = [Uuid::new_v4(), Uuid::new_v4()].map(|half| half.simple().to_string());
        let id = id.concat();
        let mut held = self.lock();
        held.retain(|login| now < login.until);
        if held.len() == MOST {
            held.remove(0);
        }
        held.push(Login {
            id: Digest::of(&id),
            token,
            until: now + HOLDS,
        });
        self.header(&id, is_encrypted, HOLDS)
    }

    /// The login is over. The header that takes the cookie away.
    pub(super) fn close(&self, id: &Digest, is_encrypted: bool) -> String {
        self.lock().retain(|login| !login.id.is(id));
        self.header("", is_encrypted, Duration::ZERO)
    }

    /// The hash of the cookie that a call comes with, whether or not it is worth something.
    pub(super) fn sent(&self, headers: &HeaderMap, is_encrypted: bool) -> Option<Digest> {
        let name = self.cookie(is_encrypted);
        let lines = headers.get_all(COOKIE).iter();
        let mut cookies = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='));
        let (_, id) = cookies.find(|(other, _)| *other == name)?;
        Some(Digest::of(id))
    }

    /// The hash of the token that a login was made with. None: there is no such login any more.
    pub(super) fn token(&self, id: &Digest, now: Instant) -> Option<Digest> {
        let held = self.lock();
        // Looks at every login, whichever it is: time tells nothing.
        held.iter().fold(None, |found, login| {
            match login.id.is(id) && now < login.until {
                true => Some(login.token),
                false => found,
            }
        })
    }

    /// Sent with requests that the page itself makes, never with those of other sites, and never shown to scripts.
    fn header(&self, id: &str, is_encrypted: bool, holds: Duration) -> String {
        let (name, seconds) = (self.cookie(is_encrypted), holds.as_secs());
        let secure = if is_encrypted { "; Secure" } else { "" };
        format!("{name}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// Browsers take `__Host-` only as it is meant: over TLS, for this host alone.
    fn cookie(&self, is_encrypted: bool) -> String {
        match is_encrypted {
            true => format!("__Host-{}", self.name),
            false => self.name.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Login>> {
        // Nothing panics under the lock.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(set_cookie: &str) -> HeaderMap {
        let cookie = set_cookie.split(';').next().unwrap();
        let line = format!("other=1; {cookie}; more=2");
        HeaderMap::from_iter([(COOKIE, line.parse().unwrap())])
    }

    #[test]
    fn a_cookie_stands_for_its_token_until_it_is_over() {
        let (logins, now) = (Logins::default(), Instant::now());
        let token = Digest::of("secret");
        for is_encrypted in [false, true] {
            let header = logins.open(token, is_encrypted, now);
            assert_eq!(header.contains("; Secure"), is_encrypted);
            assert!(header.contains("; HttpOnly; SameSite=Strict") && !header.contains("secret"));
            let id = logins.sent(&headers(&header), is_encrypted).unwrap();
            assert!(logins.sent(&headers(&header), !is_encrypted).is_none());
            assert!(logins.token(&id, now).is_some_and(|found| found.is(&token)));
            let late = now + HOLDS;
            assert!(logins.token(&id, late).is_none(), "12 hours");
            assert!(logins.close(&id, is_encrypted).contains("Max-Age=0"));
            assert!(logins.token(&id, now).is_none());
        }
        assert!(logins.token(&Digest::of(""), now).is_none());
    }

    #[test]
    fn logins_are_bounded_and_the_oldest_goes() {
        let (logins, now) = (Logins::default(), Instant::now());
        let headers: Vec<_> = (0..MOST + 1)
            .map(|n| logins.open(Digest::of(n.to_string()), false, now))
            .map(|header| headers(&header))
            .collect();
        let holds = |headers| {
            let id = logins.sent(headers, false).unwrap();
            logins.token(&id, now).is_some()
        };
        assert!(!holds(&headers[0]) && holds(&headers[1]) && holds(&headers[MOST]));
    }
}
