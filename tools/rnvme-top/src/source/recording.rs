// SPDX-License-Identifier: GPL-2.0

//! Recordings: snapshots in a text file, line by line.
//!
//! The first line is `rnvme-top recording 2`. Each other line begins with a letter for its kind. Single
//! blanks separate words. A blank in a word is `\s`, a backslash is `\\`, an empty word is `\e`:
//!
//! ```text
//! T monotonic_ns unix_ns              a snapshot begins
//! C address name model serial firmware state [parameter=value…]
//!                                     a controller; the following lines belong to it
//! E …                                 its file events
//! H temperature limit smart_warnings  its health: thousandths of a degree Celsius, and a count;
//!                                     a dash for an unknown value
//! Q qid kind depth vector cpus        a queue
//! S …                                 its file stat
//! L …                                 its file latency
//! D name …                            a disk, and its file stat
//! .                                   the snapshot ends
//! ```
//!
//! S and L lines that are equal in the snapshot before are left out. A line that begins with `#` is a
//! comment. A line that begins with another letter is an error: the file has another version.
//!
//! Version 1 has no H lines. The program reads it, too.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::str::FromStr;
use std::sync::Arc;

use super::Source;
use crate::error::{plain, Error, Result};
use crate::model::counts::{number, Counts, Events};
use crate::model::histogram::Histogram;
use crate::model::snapshot::{
    Controller, ControllerInfo, Disk, DiskStat, Health, Queue, QueueInfo, Snapshot,
};

/// The first words of the first line, before the version.
const MAGIC: &str = "rnvme-top recording ";

/// The version that the program writes.
const VERSION: &str = "2";

/// The versions that it reads. Version 1 lacks the lines H.
const VERSIONS: [&str; 2] = ["1", VERSION];

/// The longest line that the program reads.
const MAX_LINE: usize = 1 << 20;

/// Writes a recording.
pub struct Writer<W: Write> {
    out: W,
    last: Option<Snapshot>,
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    pub fn new(mut out: W) -> Result<Self> {
        writeln!(out, "{MAGIC}{VERSION}").map_err(|e| Error::output(&e))?;
        Ok(Self { out, last: None })
    }

    /// Adds a snapshot, and flushes it.
    pub fn write(&mut self, snapshot: &Snapshot) -> Result<()> {
        // In a single write, so that little is lost if the program is killed.
        let text = self.text(snapshot);
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        written.map_err(|e| Error::output(&e))?;
        self.last = Some(snapshot.clone());
        Ok(())
    }

    fn text(&self, snapshot: &Snapshot) -> String {
        let mut lines = vec![format!("T {} {}", snapshot.monotonic_ns, snapshot.unix_ns)];
        for c in &snapshot.controllers {
            let before = self.last.as_ref().and_then(|s| same_controller(s, &c.info));
            let info = &c.info;
            let words = [
                &info.address,
                &info.name,
                &info.model,
                &info.serial,
                &info.firmware,
                &c.state,
            ];
            let mut words: Vec<String> = words.iter().map(|w| quoted(w)).collect();
            words.extend(
                info.parameters
                    .iter()
                    .map(|(n, v)| quoted(&format!("{n}={v}"))),
            );
            lines.push(format!("C {}", words.join(" ")));
            lines.push(format!("E {}", joined(&c.events.values())));
            lines.push(health_line(&c.health));
            for queue in &c.queues {
                let q = &queue.info;
                lines.push(format!(
                    "Q {} {} {} {} {}",
                    q.qid,
                    quoted(&q.kind),
                    q.depth,
                    quoted(&q.vector),
                    quoted(&q.cpus)
                ));
                let before = before.and_then(|c| c.queues.iter().find(|b| b.info == *q));
                if before.is_none_or(|b| b.counts != queue.counts) {
                    lines.push(format!("S {}", joined(&queue.counts.values())));
                }
                if before.is_none_or(|b| b.latency != queue.latency) {
                    lines.push(format!("L {}", queue.latency.line()));
                }
            }
            for disk in &c.disks {
                lines.push(format!("D {} {}", quoted(&disk.name), disk.stat.line()));
            }
        }
        lines.push(".\n".into());
        lines.join("\n")
    }
}

fn same_controller<'a>(snapshot: &'a Snapshot, info: &ControllerInfo) -> Option<&'a Controller> {
    snapshot.controllers.iter().find(|c| *c.info == *info)
}

fn joined(values: &[u64]) -> String {
    let words: Vec<String> = values.iter().map(u64::to_string).collect();
    words.join(" ")
}

/// A line H.
fn health_line(health: &Health) -> String {
    fn word<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".into(), |value| value.to_string())
    }
    format!(
        "H {} {} {}",
        word(health.temperature),
        word(health.limit),
        word(health.smart_warnings)
    )
}

/// The words of a line H; `None` if a word is missing or is no number.
fn health<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Health> {
    fn value<T: FromStr>(word: &str) -> Option<Option<T>> {
        match word {
            "-" => Some(None),
            _ => word.parse().ok().map(Some),
        }
    }
    let health = Health {
        temperature: value(words.next()?)?,
        limit: value(words.next()?)?,
        smart_warnings: value(words.next()?)?,
    };
    words.next().is_none().then_some(health)
}

/// The word with escapes instead of blanks and line ends.
fn quoted(word: &str) -> String {
    if word.is_empty() {
        return "\\e".into();
    }
    word.chars()
        .map(|c| match c {
            '\\' => "\\\\".into(),
            c if c.is_whitespace() || c.is_control() => "\\s".into(),
            c => c.to_string(),
        })
        .collect()
}

/// The word without escapes.
fn unquoted(word: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                's' => text.push(' '),
                '\\' => text.push('\\'),
                'e' => {}
                _ => return None,
            },
            c => text.push(c),
        }
    }
    Some(text)
}

/// A recording as a source.
pub struct Reader<R: BufRead> {
    input: R,
    name: String,
    line: usize,
    last: Snapshot,
    infos: HashMap<String, Arc<ControllerInfo>>,
    /// The version has lines H.
    has_health: bool,
    /// The file ends within a snapshot.
    cut: bool,
}

impl<R: BufRead> Reader<R> {
    /// The recording in `input`, which is called `name` in messages.
    ///
    /// # Errors
    ///
    /// If the input isn't a recording, or has another version.
    pub fn new(input: R, name: &str) -> Result<Self> {
        let mut this = Self {
            input,
            name: name.to_string(),
            line: 0,
            last: Snapshot::default(),
            infos: HashMap::new(),
            has_health: false,
            cut: false,
        };
        let first = this.read_line()?.unwrap_or_default();
        match first.strip_prefix(MAGIC) {
            Some(version) if VERSIONS.contains(&version) => {
                this.has_health = version != "1";
                Ok(this)
            }
            Some(version) => Err(Error::Recording(format!(
                "{name}: a recording of version {version:.20}, this program reads versions {}",
                VERSIONS.join(" and ")
            ))),
            None => Err(Error::Recording(format!(
                "{name}: not a recording of rnvme-top"
            ))),
        }
    }

    /// Whether the file ended within a snapshot. That snapshot is left out.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The next complete line; `None` at the end of the file.
    fn read_line(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Error::Io(format!("{}: {}", self.name, plain(&error))));
                }
            };
            let end = available.iter().position(|b| *b == b'\n');
            let taken = end.unwrap_or(available.len());
            bytes.extend_from_slice(available.get(..taken).unwrap_or_default());
            let done = end.is_some() || available.is_empty();
            let whole = end.is_some();
            self.input.consume(if whole { taken + 1 } else { taken });
            if bytes.len() > MAX_LINE {
                self.line += 1;
                return Err(self.damaged("a line without end"));
            }
            if !done {
                continue;
            }
            if !whole {
                self.cut |= !bytes.is_empty();
                return Ok(None);
            }
            self.line += 1;
            return match String::from_utf8(bytes) {
                Ok(line) => Ok(Some(line)),
                Err(_) => Err(self.damaged("not text")),
            };
        }
    }

    fn damaged(&self, what: &str) -> Error {
        Error::Recording(format!("{}:{}: damaged: {what}", self.name, self.line))
    }

    /// Takes a line of a snapshot; `None` if the line is malformed.
    fn take(&mut self, snapshot: &mut Snapshot, line: &str) -> Option<()> {
        let (letter, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        match letter {
            "C" => {
                let mut word = || unquoted(words.next()?);
                let mut info = ControllerInfo {
                    address: word()?,
                    name: word()?,
                    model: word()?,
                    serial: word()?,
                    firmware: word()?,
                    parameters: Vec::new(),
                };
                let state = word()?;
                for word in words {
                    let word = unquoted(word)?;
                    let (name, value) = word.split_once('=')?;
                    info.parameters.push((name.to_string(), value.to_string()));
                }
                snapshot.controllers.push(Controller {
                    info: self.shared(info),
                    state,
                    ..Controller::default()
                });
            }
            "E" => snapshot.controllers.last_mut()?.events = Events::parse(rest)?,
            "H" if self.has_health => snapshot.controllers.last_mut()?.health = health(words)?,
            "Q" => {
                let controller = snapshot.controllers.last_mut()?;
                let info = QueueInfo {
                    qid: words.next()?.parse().ok()?,
                    kind: unquoted(words.next()?)?,
                    depth: number(words.next()?)?,
                    vector: unquoted(words.next()?)?,
                    cpus: unquoted(words.next()?)?,
                };
                let before = same_controller(&self.last, &controller.info);
                let before = before.and_then(|c| c.queues.iter().find(|q| *q.info == info));
                controller
                    .queues
                    .push(before.cloned().unwrap_or_else(|| Queue {
                        info: Arc::new(info),
                        ..Queue::default()
                    }));
            }
            "S" => {
                snapshot.controllers.last_mut()?.queues.last_mut()?.counts = Counts::parse(rest)?;
            }
            "L" => {
                let queue = snapshot.controllers.last_mut()?.queues.last_mut()?;
                queue.latency = Arc::new(Histogram::parse(rest)?);
            }
            "D" => {
                let (name, stat) = rest.split_once(' ')?;
                snapshot.controllers.last_mut()?.disks.push(Disk {
                    name: unquoted(name)?,
                    stat: DiskStat::parse(stat)?,
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn shared(&mut self, info: ControllerInfo) -> Arc<ControllerInfo> {
        match self.infos.get(&info.address) {
            Some(known) if **known == info => known.clone(),
            _ => {
                let shared = Arc::new(info);
                self.infos.insert(shared.address.clone(), shared.clone());
                shared
            }
        }
    }
}

impl<R: BufRead> Source for Reader<R> {
    fn next(&mut self) -> Result<Option<Snapshot>> {
        let mut snapshot: Option<Snapshot> = None;
        loop {
            let Some(line) = self.read_line()? else {
                self.cut |= snapshot.is_some();
                return Ok(None);
            };
            if line.starts_with('#') {
                continue;
            }
            match (line.strip_prefix("T "), &mut snapshot) {
                (Some(times), None) => {
                    let times: Option<Vec<u64>> = times.split(' ').map(number).collect();
                    let Some(&[monotonic_ns, unix_ns]) = times.as_deref() else {
                        return Err(self.damaged("no time"));
                    };
                    snapshot = Some(Snapshot {
                        monotonic_ns,
                        unix_ns,
                        controllers: Vec::new(),
                    });
                }
                (None, Some(_)) if line == "." => {
                    self.last = snapshot.unwrap_or_default();
                    return Ok(Some(self.last.clone()));
                }
                (None, Some(part)) => {
                    if self.take(part, &line).is_none() {
                        return Err(self.damaged("not a line of this version"));
                    }
                }
                _ => return Err(self.damaged("a snapshot begins in another, or not at all")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::tests::{snapshot, warm};

    fn recorded() -> (Vec<Snapshot>, Vec<u8>) {
        let snapshots = vec![
            snapshot(1, 0),
            snapshot(2, 1000),
            snapshot(3, 1000),
            Snapshot {
                monotonic_ns: 4_000_000_000,
                ..Snapshot::default()
            },
            snapshot(5, 20),
            warm(6, 30, 2),
            warm(7, 30, 3),
        ];
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        for snapshot in &snapshots {
            writer.write(snapshot).unwrap();
        }
        (snapshots, bytes)
    }

    fn read(bytes: &[u8]) -> (Vec<Snapshot>, Result<bool>) {
        let mut all = Vec::new();
        let mut reader = match Reader::new(bytes, "file") {
            Ok(reader) => reader,
            Err(error) => return (all, Err(error)),
        };
        loop {
            match reader.next() {
                Ok(Some(snapshot)) => all.push(snapshot),
                Ok(None) => return (all, Ok(reader.is_cut())),
                Err(error) => return (all, Err(error)),
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (snapshots, bytes) = recorded();
        let (read, cut) = read(&bytes);
        assert_eq!(read, snapshots);
        assert!(!cut.unwrap());
    }

    /// For any end of the file, the reader returns exactly the complete snapshots.
    #[test]
    fn cut_short() {
        let (snapshots, bytes) = recorded();
        let first = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
        let mut cuts = 0;
        for end in first..bytes.len() {
            let (read, cut) = read(&bytes[..end]);
            assert_eq!(read, snapshots[..read.len()], "cut at {end}");
            cuts += usize::from(cut.unwrap());
        }
        assert_eq!(cuts, bytes.len() - first - snapshots.len());
    }

    #[test]
    fn other_files() {
        for (text, part) in [
            ("", "not a recording"),
            ("hello\n", "not a recording"),
            ("rnvme-top recording 1", "not a recording"),
            (
                "rnvme-top recording 3\n",
                "version 3, this program reads versions 1 and 2",
            ),
            ("rnvme-top recording 1\nT 1\n", "file:2: damaged: no time"),
            ("rnvme-top recording 1\nT 1 1\nT 2 2\n", "file:3: damaged"),
            ("rnvme-top recording 1\n.\n", "file:2: damaged"),
            (
                "rnvme-top recording 1\nT 1 1\nE 1 2 3 4 5\n",
                "file:3: damaged",
            ),
            (
                "rnvme-top recording 1\nT 1 1\nX new\n",
                "not a line of this version",
            ),
            (
                "rnvme-top recording 1\nT 1 1\nC a b c d e live\nS 1\n",
                "file:4: damaged",
            ),
            (
                "rnvme-top recording 1\nT 1 1\nC a b c d e \\x\n",
                "file:3: damaged",
            ),
            (
                "rnvme-top recording 1\nT 1 1\nC a b c d e live\nH - - -\n",
                "file:4: damaged: not a line of this version",
            ),
            ("rnvme-top recording 2\nT 1 1\nH - - -\n", "file:3: damaged"),
            (
                "rnvme-top recording 2\nT 1 1\nC a b c d e live\nH 1 2\n",
                "file:4: damaged",
            ),
            (
                "rnvme-top recording 2\nT 1 1\nC a b c d e live\nH 1 2 3 4\n",
                "file:4: damaged",
            ),
            (
                "rnvme-top recording 2\nT 1 1\nC a b c d e live\nH 1 2 -3\n",
                "file:4: damaged",
            ),
        ] {
            let error = read(text.as_bytes()).1.unwrap_err();
            assert_eq!(error.code(), 4, "{text}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let error = read(b"\xff\xfe\n").1.unwrap_err();
        assert!(error.to_string().contains("not text"));
        let long = vec![b'x'; MAX_LINE + 2];
        assert!(read(&long)
            .1
            .unwrap_err()
            .to_string()
            .contains("without end"));
    }

    /// What the program wrote before it knew the health.
    #[test]
    fn version_1() {
        let (mut snapshots, bytes) = recorded();
        for controller in snapshots.iter_mut().flat_map(|s| &mut s.controllers) {
            controller.health = Health::default();
        }
        let old: String = String::from_utf8(bytes)
            .unwrap()
            .replace("recording 2", "recording 1")
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("H "))
            .collect();
        assert!(old.starts_with("rnvme-top recording 1\n"));
        let (read, cut) = read(old.as_bytes());
        assert_eq!(read, snapshots);
        assert!(!cut.unwrap());
    }

    #[test]
    fn health_lines() {
        for line in ["H - - -", "H 49850 69850 3", "H -3150 - 0"] {
            let read = health(line.split(' ').skip(1)).unwrap();
            assert_eq!(health_line(&read), line);
        }
    }

    #[test]
    fn words() {
        for word in ["", "a b", "a\\b", "\\e", "ä"] {
            assert_eq!(unquoted(&quoted(word)).as_deref(), Some(word));
        }
        assert_eq!(quoted("a\nb"), "a\\sb");
        assert_eq!(unquoted("\\"), None);
    }

    #[test]
    fn comments_are_left_out() {
        let (snapshots, bytes) = recorded();
        let text = String::from_utf8(bytes)
            .unwrap()
            .replace("\nE ", "\n# a remark\nE ");
        assert_eq!(read(text.as_bytes()).0, snapshots);
    }
}
