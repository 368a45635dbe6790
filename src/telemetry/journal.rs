//! Lines for systemd's journal, with a field of its own for each of ours: `journalctl SESSION=...` finds a session.
//!
//! The text has the fields too, for `journalctl` shows nothing else unless it is asked. A journal that does not keep up loses
//! lines; the daemon does not wait for it. <https://systemd.io/JOURNAL_NATIVE_PROTOCOL>

use std::{
    fmt,
    io::{self, ErrorKind},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Bytes of a value; a datagram holds about 200 KiB.
const LONGEST: usize = 16 << 10;

/// Bytes of a field's name that the journal takes.
const LONGEST_NAME: usize = 64;

/// A way to the journal.
pub(super) struct Journal {
    datagrams: UnixDatagram,
    socket: PathBuf,
}

/// One event's fields, as they are recorded.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Journal {
    /// The journal that listens at `socket`.
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let datagrams = UnixDatagram::unbound()?;
        datagrams.connect(socket)?;
        datagrams.set_nonblocking(true)?;
        Ok(Journal {
            datagrams,
            socket: socket.to_owned(),
        })
    }

    fn send(&self, datagram: &[u8]) {
        let sent = self.datagrams.send(datagram);
        // journald was restarted: its socket is another one of the same name.
        if let Err(error) = sent
            && error.kind() == ErrorKind::ConnectionRefused
            && self.datagrams.connect(&self.socket).is_ok()
        {
            let _ = self.datagrams.send(datagram);
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.send(&datagram(event.metadata(), &fields));
    }
}

fn datagram(metadata: &Metadata<'_>, fields: &Fields) -> Vec<u8> {
    // As syslog counts them.
    let priority = match *metadata.level() {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut text = fields.message.clone();
    for (name, value) in &fields.others {
        text += &format!(" {name}={value}");
    }
    let mut bytes = Vec::new();
    put(&mut bytes, "PRIORITY", priority);
    put(&mut bytes, "SYSLOG_IDENTIFIER", "cellsegd");
    put(&mut bytes, "TARGET", metadata.target());
    put(&mut bytes, "MESSAGE", text.trim_start());
    for (name, value) in &fields.others {
        put(&mut bytes, &journal_name(name), value);
    }
    bytes
}

/// A field; a value with line feeds goes with its length, so that it cannot pass for more fields.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value.as_bytes()[..value.len().min(LONGEST)];
    bytes.extend(name.as_bytes());
    if value.contains(&b'\n') {
        bytes.push(b'\n');
        bytes.extend((value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend(value);
    bytes.push(b'\n');
}

/// Capitals, digits and `_`, no `_` or digit first: those are journald's own. Names that say something to journald get ours
/// before them.
fn journal_name(name: &str) -> String {
    let mut ours: String = name
        .chars()
        .map(|c| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        })
        .take(LONGEST_NAME - 2)
        .collect();
    let is_taken = ["MESSAGE", "PRIORITY", "TARGET"].contains(&&*ours);
    if is_taken || !ours.starts_with(|c: char| c.is_ascii_uppercase()) {
        ours.insert_str(0, "F_");
    }
    ours
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing::{info, subscriber::with_default, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Reads a datagram as the protocol's description has it.
    fn parse(mut bytes: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|b| *b == b'\n').unwrap();
            let line = std::str::from_utf8(&bytes[..end]).unwrap();
            bytes = &bytes[end + 1..];
            let (name, value) = match line.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => {
                    let (length, rest) = bytes.split_at(8);
                    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
                    let value = String::from_utf8(rest[..length].to_vec()).unwrap();
                    assert_eq!(rest[length], b'\n');
                    bytes = &rest[length + 1..];
                    (line, value)
                }
            };
            fields.insert(name.to_owned(), value);
        }
        fields
    }

    fn logged(log: impl FnOnce()) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        with_default(tracing_subscriber::registry().with(journal), log);
        journald.set_nonblocking(true).unwrap();
        let mut bytes = vec![0; 1 << 18];
        let length = journald.recv(&mut bytes).unwrap();
        parse(&bytes[..length])
    }

    #[test]
    fn a_line_has_its_fields_and_its_text_has_them_too() {
        let fields = logged(|| info!(session = "abc", frames = 3, "session closed"));
        assert_eq!(fields["MESSAGE"], "session closed session=abc frames=3");
        assert_eq!((&*fields["SESSION"], &*fields["FRAMES"]), ("abc", "3"));
        assert_eq!(fields["PRIORITY"], "6");
        assert_eq!(fields["SYSLOG_IDENTIFIER"], "cellsegd");
    }

    #[test]
    fn what_a_client_names_cannot_make_fields() {
        let name = "scope\nPRIORITY=0\n_UID=0";
        let fields = logged(|| warn!(name, priority = 9, _uid = 1, "x"));
        assert_eq!(fields["PRIORITY"], "4");
        assert_eq!(fields["NAME"], name);
        assert_eq!((&*fields["F_PRIORITY"], &*fields["F__UID"]), ("9", "1"));
        let long = "x".repeat(1 << 20);
        let fields = logged(|| warn!(long, "x"));
        assert_eq!(fields["LONG"].len(), LONGEST);
    }

    #[test]
    fn a_journal_that_was_restarted_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        second.set_nonblocking(true).unwrap();
        journal.send(b"MESSAGE=again\n");
        let mut bytes = [0; 64];
        let length = second.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"MESSAGE=again\n");
    }

    #[test]
    fn a_journal_that_does_not_read_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::connect(&path).unwrap();
        with_default(tracing_subscriber::registry().with(journal), || {
            (0..10_000).for_each(|n| info!(n, "nobody reads this"));
        });
    }
}
