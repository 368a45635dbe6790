//! The key file: tokens and certificates, each with a name and a role. It holds hashes only: who reads it cannot use them.

use std::{
    fmt,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::Path,
    str::FromStr,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Role, SettingsError};

/// Written above the keys, for whoever opens the file.
const HEADER: &str = "\
# Who may use this daemon; see 'cellsegd pair --help'. Hashes only: a token is shown once, when it is made.
# Read when the daemon starts or reloads. Not for everybody's eyes: chmod o= this file.
";

/// Who may come in.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyFile {
    /// Of tokens' text.
    #[serde(rename = "token", skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Key>,
    /// Of certificates in DER, as `openssl x509 -fingerprint -sha256` prints it.
    #[serde(rename = "certificate", skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Key>,
}

/// A token's or a certificate's hash, and what it is good for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Whom logs and status name: unique among tokens and among certificates.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// SHA-256.
    pub sha256: Digest,
    /// From when on it is worth nothing: `2027-01-31` or `2027-01-31T12:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<toml::value::Datetime>,
}

/// A SHA-256; 64 hex digits, colons between them are read too.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl KeyFile {
    /// Reads `path`, which only its owner and group may read.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let wrong = |why: String| SettingsError::File {
            path: path.to_owned(),
            why,
        };
        refuse_open(path)?;
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        // Its excerpt would put a line of the file into the log.
        let keys: KeyFile = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start].bytes().filter(|&b| b == b'\n').count()
            });
            wrong(format!("line {line}: {}", error.message()))
        })?;
        keys.check().map_err(wrong)?;
        Ok(keys)
    }

    /// Replaces `path` as a whole; a new file is its folder's owner's and nobody else's.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        write_private(
            path,
            format!("{HEADER}\n{text}").as_bytes(),
            Readers::Daemon,
        )
    }

    fn check(&self) -> Result<(), String> {
        for (kind, keys) in [("token", &self.tokens), ("certificate", &self.certificates)] {
            for (i, key) in keys.iter().enumerate() {
                if !is_name(&key.name) {
                    return Err(format!("{kind} {:?}: {NAME_RULE}", key.name));
                }
                if keys[..i].iter().any(|other| other.name == key.name) {
                    return Err(format!("two {kind}s are called {:?}", key.name));
                }
                if key.expires.is_some() && key.end().is_none() {
                    return Err(format!(
                        "{kind} {:?}: expires must be a date, as 2027-01-31, or a time, as 2027-01-31T12:00:00Z",
                        key.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What a key's name must be.
pub const NAME_RULE: &str =
    "a name is 1 to 64 letters, digits, dots, dashes and underscores, as scope-2";

/// Whether a key may be called so: it goes into logs and file names.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.')
}

impl Key {
    /// Whether it is worth nothing any more.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.end().is_some_and(|end| end <= now)
    }

    fn end(&self) -> Option<SystemTime> {
        let text = self.expires.as_ref()?.to_string();
        let time = prost_types::Timestamp::from_str(&text).ok()?;
        SystemTime::try_from(time).ok()
    }
}

impl Digest {
    /// Of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Digest(Sha256::digest(bytes).into())
    }

    /// Takes the same time wherever the two differ.
    pub fn is(&self, other: &Digest) -> bool {
        let differing = self.0.iter().zip(&other.0);
        differing.fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = text.chars().filter(|&c| c != ':').collect();
        let wrong = || format!("{text:?} must be a SHA-256: 64 hex digits");
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (i, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Digest(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Refuses a secret that every user of the machine can read or change.
pub fn refuse_open(path: &Path) -> Result<(), SettingsError> {
    let wrong = |why: String| SettingsError::File {
        path: path.to_owned(),
        why,
    };
    let metadata = regular(path)?;
    match metadata.mode() & 0o7 {
        0 => Ok(()),
        _ => Err(wrong(format!(
            "mode {:o} lets every user of this machine at it: chmod o= it",
            metadata.mode() & 0o777
        ))),
    }
}

/// That `path` is a file and no pipe, which nobody may ever write to: whoever reads it would wait for good.
pub fn regular(path: &Path) -> Result<fs::Metadata, SettingsError> {
    let wrong = |why: String| SettingsError::File {
        path: path.to_owned(),
        why,
    };
    let metadata = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    match metadata.is_file() {
        true => Ok(metadata),
        false => Err(wrong("not a regular file".to_owned())),
    }
}

/// Who may read a secret beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    Owner,
    /// The daemon, where root writes into a folder of the daemon's group.
    Daemon,
}

/// Writes a secret: whole or not at all. It keeps the owner and the mode of the file before it; a new one has its folder's owner.
pub fn write_private(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let before = fs::metadata(path);
    let owner = match &before {
        Ok(metadata) => metadata.clone(),
        Err(_) => fs::metadata(folder)?,
    };
    let is_root = rustix::process::geteuid().is_root();
    let mode = match before {
        Ok(metadata) => metadata.mode() & 0o660,
        Err(_) if readers == Readers::Daemon && is_root && owner.gid() != 0 => 0o640,
        Err(_) => 0o600,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = folder.join(name);
    // What an earlier process of that number left.
    let _ = fs::remove_file(&draft);
    let written = (|| {
        let mut file = File::create_new(&draft)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Nobody else can give a file away. By the open file: whoever owns the folder may have put a link where the draft was.
        if is_root {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        // It was ours alone; what went wrong is said.
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(text: &str) -> Result<KeyFile, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        KeyFile::load(file.path()).map_err(|error| error.to_string())
    }

    /// `printf secret | sha256sum`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn token(more: &str) -> String {
        format!("[[token]]\nname = \"scope-2\"\nrole = \"infer\"\nsha256 = \"{SECRET}\"\n{more}")
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("tokens.toml");
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&pipe)
            .status();
        assert!(made.unwrap().success());
        let error = KeyFile::load(&pipe).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_hash_is_sha256sums() {
        assert_eq!(Digest::of("secret").to_string(), SECRET);
        let with_colons = SECRET
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .fold(String::new(), |text, pair| {
                format!("{text}{}{}:", pair[0] as char, pair[1] as char)
            });
        let parsed: Digest = with_colons.trim_end_matches(':').parse().unwrap();
        assert!(parsed.is(&Digest::of("secret")));
        assert!(!parsed.is(&Digest::of("secreT")));
    }

    #[test]
    fn a_key_expires_when_its_file_says() {
        let seconds = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        // `date -u -d 2027-01-31T12:00:00Z +%s`
        for (written, end) in [
            ("2027-01-31", 1_801_353_600),
            ("2027-01-31T12:00:00Z", 1_801_396_800),
            ("2027-01-31T12:00:00+02:00", 1_801_389_600),
        ] {
            let keys = read(&token(&format!("expires = {written}"))).unwrap();
            let key = &keys.tokens[0];
            assert!(!key.is_expired(seconds(end - 1)), "{written}");
            assert!(key.is_expired(seconds(end)), "{written}");
        }
        assert!(!read(&token("")).unwrap().tokens[0].is_expired(seconds(1 << 40)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_says_where() {
        for (text, words) in [
            (token("rolle = 1"), "line 5: unknown field `rolle`"),
            (token("expires = 12:00:00"), "expires must be a date"),
            (token(&token("")), "two tokens are called \"scope-2\""),
            (token("").replace("scope-2", "a b"), "a name is 1 to 64"),
            (
                token("").replace("infer", "root"),
                "observe, infer or admin",
            ),
            (token("").replace("2bb8", "xbb8"), "64 hex digits"),
            (token("").replace("2bb8", "ä8"), "64 hex digits"),
            (token("").replace(SECRET, ""), "64 hex digits"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn a_file_for_everybody_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for mode in [0o604, 0o602, 0o644] {
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
            let error = KeyFile::load(file.path()).unwrap_err().to_string();
            assert!(error.contains("chmod o="), "{error}");
        }
        fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
        assert_eq!(KeyFile::load(file.path()).unwrap(), KeyFile::default());
    }

    #[test]
    fn what_is_saved_is_read_back_and_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let keys = read(&token("expires = 2027-01-31")).unwrap();
        // What a process that was killed left, or somebody put there.
        let other = folder.path().join("other");
        fs::write(&other, "").unwrap();
        let draft = folder
            .path()
            .join(format!("tokens.toml.{}", std::process::id()));
        std::os::unix::fs::symlink(&other, draft).unwrap();
        for _ in 0..2 {
            keys.save(&path).unwrap();
            assert_eq!(KeyFile::load(&path).unwrap(), keys);
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(fs::read(&other).unwrap(), b"");
    }
}
