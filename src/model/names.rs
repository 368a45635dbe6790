//! Class names as Python writes a dict: `{0: 'cell', 1: "cell's nucleus"}`.

/// The names in the order of their indices, which must be 0, 1, 2 and so on. None: not such a dict.
pub(super) fn parse(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (index, after) = rest.split_once(':')?;
        if index.trim().parse() != Ok(names.len()) {
            return None;
        }
        let (name, after) = quoted(after.trim_start())?;
        names.push(name);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(names)
}

/// A Python string literal and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((place, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next()?.1),
            c if c == quote => return Some((value, &text[place + 1..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_dict_gives_its_names_in_order() {
        let cases: [(&str, Option<&[&str]>); 9] = [
            ("{0: 'cell'}", Some(&["cell"])),
            ("{0: 'cell', 1: 'nucleus'}", Some(&["cell", "nucleus"])),
            (
                r#"{0: "cell's", 1: 'a, b: {c}'}"#,
                Some(&["cell's", "a, b: {c}"]),
            ),
            (r"{0: 'it\'s', 1: 'naïve',}", Some(&["it's", "naïve"])),
            ("{}", Some(&[])),
            ("{1: 'cell'}", None),
            ("{0: 'cell' 1: 'nucleus'}", None),
            ("{0: 'cell", None),
            ("cell", None),
        ];
        for (text, names) in cases {
            assert_eq!(
                parse(text)
                    .as_deref()
                    .map(|n| n.iter().map(String::as_str).collect()),
                names.map(<[&str]>::to_vec),
                "{text}"
            );
        }
    }
}
