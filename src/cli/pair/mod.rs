//! `cellsegd pair`: what a controller on another machine needs to be let in.

mod authority;
mod lines;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result};
use clap::Args;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::UsageError;
use crate::config::{Digest, Key, KeyFile, NAME_RULE, Role, is_name};

/// Bytes of a token: as strong as its hash.
const TOKEN_BYTES: usize = 32;

/// Let a controller in: make a certificate for this machine and a token for NAME, and print what to write where
#[derive(Args, Debug)]
pub(super) struct Pair {
    /// Whom logs and 'cellsegd status' name: the microscope, say
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Name or IP address by which controllers reach this machine; may be repeated [default: its host name and addresses]
    #[arg(long = "host", value_name = "NAME_OR_IP")]
    hosts: Vec<String>,
    /// What the token is good for: observe, infer or admin
    #[arg(long, value_name = "ROLE", default_value = "infer")]
    role: Role,
    /// From when on the token is worth nothing, as 2027-01-31 [default: never]
    #[arg(long, value_name = "DATE")]
    expires: Option<toml::value::Datetime>,
    /// Port for TLS, in the lines that are printed; loopback keeps 50051 for itself
    #[arg(long, value_name = "PORT", default_value_t = 50052)]
    port: u16,
    /// Folder of the certificates and of the key file
    #[arg(long, value_name = "DIR", default_value = "/etc/cellsegd/tls")]
    dir: PathBuf,
    /// A new token for a name that has one: the old one is worth nothing from the next reload on
    #[arg(long)]
    replace: bool,
    /// Take NAME's token away
    #[arg(long, conflicts_with_all = ["hosts", "role", "replace", "list", "expires"])]
    revoke: bool,
    /// List who has a token
    #[arg(long, conflicts_with_all = ["name", "hosts", "role", "replace", "expires"])]
    list: bool,
}

impl Pair {
    pub(super) fn run(mut self) -> Result<ExitCode> {
        // Printed for a file that is read from another folder.
        self.dir = std::path::absolute(&self.dir)?;
        let keys = self.dir.join("tokens.toml");
        match (self.list, self.revoke) {
            (true, _) => list(&keys),
            (_, true) => self.take_away(&keys),
            _ => self.make(&keys),
        }?;
        Ok(ExitCode::SUCCESS)
    }

    /// Checked before anything is written.
    fn name(&self) -> Result<&str> {
        let name = self.name.as_deref().unwrap_or_default();
        match is_name(name) {
            true => Ok(name),
            false => Err(UsageError(format!("{name:?}: {NAME_RULE}")).into()),
        }
    }

    fn make(&self, path: &Path) -> Result<()> {
        let name = self.name()?;
        make_folder(&self.dir)?;
        let _lock = lock(&self.dir)?;
        let mut keys = load_or_empty(path)?;
        let old = keys.tokens.iter().position(|key| key.name == name);
        if let Some(old) = old {
            if !self.replace {
                return Err(UsageError(format!(
                    "{name} has a token already, and it is kept nowhere: --replace makes a new one, --revoke takes it away"
                ))
                .into());
            }
            keys.tokens.remove(old);
        }
        let made = authority::settle(&self.dir, &self.hosts)?;
        let token = new_token()?;
        keys.tokens.push(Key {
            name: name.to_owned(),
            role: self.role,
            sha256: Digest::of(&token),
            expires: self.expires,
        });
        save(&keys, path)?;
        println!("{}", lines::of(self, name, &made, &token, path)?);
        Ok(())
    }

    fn take_away(&self, path: &Path) -> Result<()> {
        let name = self.name()?;
        let _lock = match self.dir.is_dir() {
            true => Some(lock(&self.dir)?),
            false => None,
        };
        let mut keys = load_or_empty(path)?;
        let before = keys.tokens.len();
        keys.tokens.retain(|key| key.name != name);
        if keys.tokens.len() == before {
            return Err(UsageError(format!(
                "{name} has no token in {}: see --list",
                path.display()
            ))
            .into());
        }
        save(&keys, path)?;
        println!(
            "{name}'s token is worth nothing once the daemon has read {} again: {}",
            path.display(),
            lines::RELOAD
        );
        println!("Sessions that are open go on until they end or the daemon restarts.");
        Ok(())
    }
}

fn list(path: &Path) -> Result<()> {
    let keys = load_or_empty(path)?;
    if keys == KeyFile::default() {
        println!("nobody has a token in {}", path.display());
    }
    for (kind, keys) in [("token", &keys.tokens), ("certificate", &keys.certificates)] {
        for key in keys {
            let end = match &key.expires {
                None => String::new(),
                Some(end) if key.is_expired(SystemTime::now()) => format!("  expired {end}"),
                Some(end) => format!("  until {end}"),
            };
            println!("{:<24} {:<8} {kind}{end}", key.name, key.role.to_string());
        }
    }
    Ok(())
}

fn load_or_empty(path: &Path) -> Result<KeyFile> {
    match fs::exists(path).with_context(|| path.display().to_string())? {
        true => Ok(KeyFile::load(path)?),
        false => Ok(KeyFile::default()),
    }
}

fn save(keys: &KeyFile, path: &Path) -> Result<()> {
    keys.save(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Until it is dropped nobody else pairs here: each would write the key file without the other's token.
fn lock(dir: &Path) -> Result<File> {
    let cannot = || format!("cannot lock {}", dir.display());
    let folder = File::open(dir).with_context(cannot)?;
    flock(&folder, FlockOperation::LockExclusive).with_context(cannot)?;
    Ok(folder)
}

/// The folder belongs to whom the one above it belongs, and so does what is written into it: the daemon's user reads it.
fn make_folder(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let made: io::Result<()> = (|| {
        fs::create_dir_all(dir)?;
        // By the open folder: a link in its place is somebody else's.
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = File::from(open(dir, flags, Mode::empty())?);
        made.set_permissions(fs::Permissions::from_mode(0o750))?;
        if rustix::process::geteuid().is_root() {
            let above = fs::metadata(dir.parent().unwrap_or(dir))?;
            fchown(&made, Some(above.uid()), Some(above.gid()))?;
        }
        Ok(())
    })();
    made.with_context(|| format!("cannot make the folder {}", dir.display()))
}

/// Letters that need no quoting anywhere.
fn new_token() -> Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn nobody_who_pairs_at_the_same_time_loses_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("tls");
        let keys = dir.join("tokens.toml");
        thread::scope(|scope| {
            for n in 0..8 {
                let pair = Pair {
                    name: Some(format!("scope-{n}")),
                    hosts: vec!["localhost".to_owned()],
                    role: Role::Infer,
                    expires: None,
                    port: 50052,
                    dir: dir.clone(),
                    replace: false,
                    revoke: false,
                    list: false,
                };
                let keys = &keys;
                scope.spawn(move || pair.make(keys).unwrap());
            }
        });
        assert_eq!(KeyFile::load(&keys).unwrap().tokens.len(), 8);
    }
}
