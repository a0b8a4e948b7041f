// SPDX-License-Identifier: GPL-2.0

//! Compares the manual page with the options of the command line, and with the keys of the view.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy's exception for tests leaves out functions beside them"
)]

use std::collections::{BTreeMap, BTreeSet};

use clap::{Arg, Command, CommandFactory};

#[allow(
    dead_code,
    reason = "the test needs only the definition of the options"
)]
#[path = "../src/cli.rs"]
mod cli;

#[path = "../src/ui/keys.rs"]
mod keys;

/// The entries of the manual page below a heading `.SH` or `.SS`: the words of the tag, and all text.
type Entries = Vec<(BTreeSet<String>, String)>;

/// The entries by their headings.
fn manual() -> BTreeMap<String, Entries> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../Documentation/man/rnvme-top.1"
    );
    let page = std::fs::read_to_string(path).unwrap();
    let mut sections: BTreeMap<String, Entries> = BTreeMap::new();
    let mut heading = String::new();
    let mut tag_is_next = false;
    for line in page.lines() {
        let text = plain(line);
        if let Some(title) = [".SH ", ".SS "].iter().find_map(|h| text.strip_prefix(h)) {
            heading = title.to_string();
        } else if text == ".TP" {
            tag_is_next = true;
            continue;
        } else if tag_is_next {
            let words = text.split([' ', ',']).skip(1).filter(|w| !w.is_empty());
            let entry = (words.map(str::to_string).collect(), text.clone());
            sections.entry(heading.clone()).or_default().push(entry);
        } else if let Some((_, entry)) = sections.get_mut(&heading).and_then(|s| s.last_mut()) {
            entry.push_str(&format!(" {text}"));
        }
        tag_is_next = false;
    }
    sections
}

/// A line without quotes and escapes.
fn plain(line: &str) -> String {
    ["\\fI", "\\fR", "\"", "\\"]
        .iter()
        .fold(line.to_string(), |line, escape| line.replace(escape, ""))
}

/// The forms of an option, as `-n` and `--count`.
fn forms(option: &Arg) -> Vec<String> {
    let long = option.get_long().map(|name| format!("--{name}"));
    let short = option.get_short().map(|letter| format!("-{letter}"));
    long.into_iter().chain(short).collect()
}

/// The entries have the options of the command, with their defaults and possible values, and no others.
fn compare(command: &Command, entries: &Entries, others: &[&str]) {
    let mut known: BTreeSet<String> = others.iter().map(|form| form.to_string()).collect();
    for option in command.get_arguments() {
        let forms = forms(option);
        let name = match forms.first() {
            Some(form) => form.clone(),
            None => option.get_id().to_string(),
        };
        let what = format!("{}: {name}", command.get_name());
        let entry = entries.iter().find(|(tag, _)| tag.contains(&name));
        let (tag, text) = entry.unwrap_or_else(|| panic!("{what}: not in the manual page"));
        for form in &forms {
            assert!(tag.contains(form), "{what}: {form} is not in {tag:?}");
        }
        if !option.get_action().takes_values() {
            known.extend(forms);
            continue;
        }
        let defaults = option.get_default_values().iter();
        let values = option.get_possible_values();
        let values = values.iter().map(|value| value.get_name().to_string());
        for value in defaults
            .map(|value| value.to_string_lossy().into_owned())
            .chain(values)
        {
            let mut words = text.split([' ', ',', ';', '.']);
            assert!(
                words.any(|word| word == value),
                "{what}: {value} is not in: {text}"
            );
        }
        known.extend(forms);
    }
    for form in entries.iter().flat_map(|(tag, _)| tag) {
        assert!(
            !form.starts_with('-') || known.contains(form),
            "{}: no option {form}",
            command.get_name()
        );
    }
}

#[test]
fn options() {
    let manual = manual();
    let program = cli::Cli::command();
    compare(
        &program,
        &manual["OPTIONS"],
        &["-h", "--help", "-V", "--version"],
    );
    for form in ["-h", "--help", "-V", "--version"] {
        assert!(
            manual["OPTIONS"].iter().any(|(tag, _)| tag.contains(form)),
            "{form}"
        );
    }
    let mut commands = 0;
    for command in program.get_subcommands() {
        let name = command.get_name();
        let described = manual["DESCRIPTION"].iter();
        assert!(
            described.clone().any(|(tag, _)| tag.contains(name)),
            "{name}: not in the manual page"
        );
        let headings = [format!("Options of {name}"), format!("Arguments of {name}")];
        let entries = headings.iter().find_map(|heading| manual.get(heading));
        compare(
            command,
            entries.unwrap_or_else(|| panic!("no {headings:?} in the manual page")),
            &[],
        );
        commands += 1;
    }
    assert!(commands >= 3);
}

/// The keys of lines like `f, space   freeze`.
fn keys_of<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    lines
        .filter_map(|line| line.trim_start().split_once("  "))
        .flat_map(|(keys, _)| keys.split([' ', ',']))
        .filter(|key| !key.is_empty())
        .map(str::to_string)
        .collect()
}

#[test]
fn keys() {
    let manual = manual();
    let described: BTreeSet<String> = manual["KEYS"]
        .iter()
        .flat_map(|(tag, _)| tag.clone())
        .collect();
    let window = keys_of(keys::HELP.lines());
    assert!(window.len() > 10, "{window:?}");
    let missing: Vec<&String> = window.difference(&described).collect();
    assert!(missing.is_empty(), "not in the manual page: {missing:?}");

    let help = cli::Cli::command()
        .get_after_long_help()
        .unwrap()
        .to_string();
    let lines = help.lines().skip_while(|line| *line != "Keys:");
    let help = keys_of(lines.take_while(|line| !line.is_empty()));
    assert_eq!(help, described);
}
