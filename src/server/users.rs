//! Users and groups of this machine, as its own files list them. Those of a directory service are named by number.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
};

use super::Origin;

/// Users of a unix socket who are admin.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Users {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl Users {
    /// From `alice`, `1000`, `%group`, `%1000`. `Err`: one that nobody is called, and what would be right.
    pub(super) fn read(names: &[String]) -> Result<Self, String> {
        if names.is_empty() {
            return Ok(Users::default());
        }
        let read = |path| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        Users::find(names, &read("/etc/passwd")?, &read("/etc/group")?)
    }

    fn find(names: &[String], passwd: &str, group: &str) -> Result<Self, String> {
        let mut found = Users::default();
        for name in names {
            let unknown = || {
                format!(
                    "{name:?}: no such user or group in this machine's own list; write the number of one that comes from elsewhere"
                )
            };
            match name.strip_prefix('%') {
                Some(name) => {
                    let line = find(group, name);
                    let id = name.parse().ok().or_else(|| id(line?));
                    found.groups.insert(id.ok_or_else(unknown)?);
                    let members = line.and_then(|line| line.split(':').nth(3)).unwrap_or("");
                    let members = members.split(',').filter_map(|user| id_of(passwd, user));
                    found.users.extend(members);
                }
                None => {
                    let id = name.parse().ok().or_else(|| id_of(passwd, name));
                    found.users.insert(id.ok_or_else(unknown)?);
                }
            }
        }
        Ok(found)
    }

    /// Whether the user or the process's own group is one of them.
    pub(super) fn contain(&self, uid: u32, gid: Option<u32>) -> bool {
        self.users.contains(&uid) || gid.is_some_and(|gid| self.groups.contains(&gid))
    }
}

/// What users of this machine are called, by number.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u32, String>);

impl Names {
    /// As the machine's own list has them now. Without a list they are numbers.
    pub(super) fn read() -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = |line: &str| Some((id(line)?, line.split(':').next()?.to_owned()));
        let mut names = HashMap::new();
        for (id, name) in passwd.lines().filter_map(named) {
            // The first one counts, as everywhere.
            names.entry(id).or_insert(name);
        }
        Names(names)
    }

    /// For a person: `uid 1000 (alice)`.
    pub(super) fn describe(&self, origin: &Origin) -> String {
        let name = match origin {
            Origin::Ip(_) => None,
            Origin::User { uid } => self.0.get(uid),
        };
        match name {
            Some(name) => format!("{origin} ({name})"),
            None => origin.to_string(),
        }
    }
}

fn find<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = list.lines();
    lines.find(|line| !name.is_empty() && line.split(':').next() == Some(name))
}

fn id_of(passwd: &str, name: &str) -> Option<u32> {
    id(find(passwd, name)?)
}

fn id(line: &str) -> Option<u32> {
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:50::/:\n";
    const GROUP: &str = "root:x:0:\ncellseg:x:50:alice,nobody\nempty:x:51:\n";

    fn find(names: &[&str]) -> Result<Users, String> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        Users::find(&names, PASSWD, GROUP)
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let users = find(&["alice", "4000"]).unwrap();
        assert!(users.contain(1000, Some(9)) && users.contain(4000, Some(9)));
        assert!(!users.contain(1001, Some(50)) && !users.contain(0, Some(0)));
        // A member by the group's list, and one whose own group it is.
        let group = find(&["%cellseg", "%77"]).unwrap();
        assert!(
            group.contain(1000, Some(1000))
                && group.contain(1001, Some(50))
                && group.contain(5, Some(77))
        );
        assert!(!group.contain(1001, Some(1001)));
        assert!(!find(&[]).unwrap().contain(0, Some(0)));
    }

    #[test]
    fn a_name_that_nobody_has_is_refused() {
        for name in ["carol", "%alice", "", "%", "al", "-1"] {
            let error = find(&[name]).unwrap_err();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }
}
