// SPDX-License-Identifier: GPL-2.0

//! Compares screens with the files in `tests/screens/`. `UPDATE_SCREENS=1 cargo test` rewrites the files.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::Terminal;
use std::io::BufReader;
use std::path::Path;

use super::app::{Action, App};
use super::draw::draw;
use super::style::Look;
use crate::model::interval::Interval;
use crate::model::snapshot::Snapshot;
use crate::source::recording::Reader;
use crate::source::Source;

fn recorded(name: &str) -> Vec<Snapshot> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name);
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = Reader::new(file, name).unwrap();
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

/// The view of a recording of version 1: two controllers, one of which is reset and has a time-out.
fn app(color: bool) -> App {
    app_of("two.rec", color)
}

fn app_of(recording: &str, color: bool) -> App {
    let mut app = App::new(Look { color }, 1.0, "");
    let snapshots = recorded(recording);
    for pair in snapshots.windows(2) {
        app.history
            .push(Interval::between(&pair[0], &pair[1]).unwrap());
    }
    app
}

fn screen(app: &App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    (area.top()..area.bottom())
        .map(|y| {
            let line: String = (area.left()..area.right())
                .map(|x| buffer[(x, y)].symbol())
                .collect();
            line.trim_end().to_string() + "\n"
        })
        .collect()
}

fn same(name: &str, app: &App, width: u16, height: u16) {
    let screen = text(&screen(app, width, height));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/screens/{name}"));
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, &screen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        screen == expected,
        "{name} is now:\n{screen}\nand was:\n{expected}"
    );
}

fn press(app: &mut App, keys: &[KeyCode]) {
    for key in keys {
        let action = app.on_key(KeyEvent::new(*key, KeyModifiers::NONE));
        assert_eq!(action, Action::None);
    }
}

fn type_in(app: &mut App, text: &str) {
    for c in text.chars() {
        press(app, &[KeyCode::Char(c)]);
    }
}

#[test]
fn small_screen_without_colors() {
    same("80x24", &app(false), 80, 24);
}

/// A recording of version 2. The second controller comes first, because it is too hot.
#[test]
fn temperatures() {
    same("warm", &app_of("warm.rec", false), 80, 24);
}

/// A temperature at the limit has another style than one below, also without colours.
#[test]
fn a_temperature_at_the_limit() {
    for color in [false, true] {
        let mut styles = Vec::new();
        for limit in [60_000, 60_001] {
            let mut app = app_of("warm.rec", color);
            let mut interval = app.history.last().unwrap().clone();
            interval.controllers.remove(0);
            let controller = &mut interval.controllers[0];
            controller.events = Default::default();
            controller.health.temperature = Some(60_000);
            controller.health.limit = Some(limit);
            app.history.push(interval);
            let screen = screen(&app, 80, 24);
            let line = text(&screen).lines().nth(1).unwrap().to_string();
            let x = line.find("60.0°C").unwrap() as u16;
            assert_eq!(line.contains("60.0°C!"), limit == 60_000, "{line}");
            styles.push(screen[(x, 1)].style());
        }
        assert_ne!(styles[0], styles[1]);
    }
}

#[test]
fn large_screen() {
    same("140x40", &app(true), 140, 40);
}

#[test]
fn zoom() {
    let mut app = app(false);
    press(&mut app, &[KeyCode::Down, KeyCode::Down, KeyCode::Enter]);
    same("zoom", &app, 100, 36);
    press(&mut app, &[KeyCode::Esc]);
    assert!(!app.zoom);
}

/// The ages belong to the queue that is shown alone, and stay while the view is frozen.
#[test]
fn ages_of_commands() {
    let mut app = app(false);
    let line = |app: &App| {
        let screen = text(&screen(app, 100, 36));
        let line = screen.lines().find(|line| line.contains("ages"));
        line.map(|line| line.split('│').nth(1).unwrap().trim().to_string())
    };
    app.look_at_ages(|_, _| panic!("no queue is shown alone"));
    press(&mut app, &[KeyCode::Down, KeyCode::Down, KeyCode::Enter]);
    app.look_at_ages(|address, qid| {
        assert_eq!((address, qid), ("0000:01:00.0", 2));
        Some(vec![2_500_000_000, 31_000, 9_000])
    });
    assert_eq!(line(&app).as_deref(), Some("ages 2.50s 31.0us 9.00us"));
    // Another queue, until the next look.
    press(&mut app, &[KeyCode::Down]);
    assert_eq!(line(&app), None);
    press(&mut app, &[KeyCode::Up, KeyCode::Char('f')]);
    app.look_at_ages(|_, _| panic!("the view is frozen"));
    assert!(line(&app).is_some());
    press(&mut app, &[KeyCode::Char('f')]);
    app.look_at_ages(|_, _| Some(vec![]));
    assert_eq!(line(&app).as_deref(), Some("ages -"));
    app.look_at_ages(|_, _| None);
    assert_eq!(line(&app), None);
}

#[test]
fn help() {
    let mut app = app(false);
    type_in(&mut app, "h");
    same("help", &app, 80, 24);
    press(&mut app, &[KeyCode::Esc]);
    assert!(!app.help);
}

#[test]
fn before_the_first_interval_and_without_controllers() {
    let mut app = App::new(Look { color: false }, 1.0, "");
    assert!(text(&screen(&app, 80, 24)).contains("taking the first look"));
    let old = Snapshot::default();
    let new = Snapshot {
        monotonic_ns: 1,
        ..Snapshot::default()
    };
    app.history.push(Interval::between(&old, &new).unwrap());
    assert!(text(&screen(&app, 80, 24)).contains("no controller"));
}

/// No screen is too small or too large.
#[test]
fn all_sizes() {
    let mut apps = [app(true), app(false), app(true)];
    press(&mut apps[1], &[KeyCode::Down, KeyCode::Enter]);
    type_in(&mut apps[2], "h");
    for app in &apps {
        for width in [0, 1, 2, 19, 20, 21, 40, 79, 80, 81, 250] {
            for height in [0, 1, 2, 3, 4, 5, 6, 8, 12, 17, 18, 24, 90] {
                screen(app, width, height);
            }
        }
    }
}

#[test]
fn filter_and_sort() {
    let mut app = app(false);
    let names = |app: &App| {
        app.rows()
            .1
            .iter()
            .map(|r| r.name.clone())
            .collect::<Vec<_>>()
    };
    let all = names(&app);
    assert!(all.iter().all(|name| !name.ends_with("q0")) && all.len() > 2);
    type_in(&mut app, "a");
    assert!(names(&app).iter().any(|name| name == "nvme900q0"));
    type_in(&mut app, "a/NVME901");
    assert!(app.typing);
    press(&mut app, &[KeyCode::Enter]);
    assert!(!app.typing && !names(&app).is_empty());
    assert!(names(&app).iter().all(|name| name.starts_with("nvme901")));
    type_in(&mut app, "/");
    press(&mut app, &[KeyCode::Backspace; 7]);
    type_in(&mut app, "nothing");
    assert!(text(&screen(&app, 80, 24)).contains("no queue passes the filter"));
    press(&mut app, &[KeyCode::Esc]);
    assert!(app.filter.is_empty());

    for title in ["io/s", "P99", "-QUEUE", "MAX", "CPUS"] {
        assert!(app.sort_by(title), "{title}");
        let (_, rows) = app.rows();
        let column = &super::columns::COLUMNS[app.sort];
        let keys: Vec<f64> = rows.iter().map(|r| (column.key)(r)).collect();
        let ordered = |w: &[f64]| {
            if app.descending {
                w[0] >= w[1]
            } else {
                w[0] <= w[1]
            }
        };
        assert!(keys.windows(2).all(ordered), "{title}: {keys:?}");
    }
    assert!(!app.sort_by("NONSENSE"));
}

#[test]
fn selection_and_freezing() {
    let mut app = app(false);
    press(&mut app, &[KeyCode::End]);
    let last = app.selected.clone();
    press(&mut app, &[KeyCode::Down, KeyCode::PageDown]);
    assert_eq!(app.selected, last);
    press(&mut app, &[KeyCode::Home]);
    assert_ne!(app.selected, last);
    type_in(&mut app, "f");
    let frozen = app.shown().unwrap().monotonic_ns;
    let later = Interval {
        monotonic_ns: frozen + 1,
        ..app.history.last().unwrap().clone()
    };
    app.history.push(later);
    assert_eq!(app.shown().unwrap().monotonic_ns, frozen);
    assert!(text(&screen(&app, 80, 24)).contains("FROZEN"));
    type_in(&mut app, " ");
    assert_eq!(app.shown().unwrap().monotonic_ns, frozen + 1);
}

#[test]
fn other_keys() {
    let mut app = app(false);
    type_in(&mut app, "++");
    assert_eq!(app.interval, 0.2);
    type_in(&mut app, "+++-");
    assert_eq!(app.interval, 0.2);
    for _ in 0..20 {
        type_in(&mut app, "-<");
    }
    assert_eq!(app.interval, 60.0);
    // Other keys change nothing.
    press(
        &mut app,
        &[
            KeyCode::F(1),
            KeyCode::Tab,
            KeyCode::Char('ü'),
            KeyCode::Delete,
        ],
    );
    for (key, modifiers) in [('q', KeyModifiers::NONE), ('c', KeyModifiers::CONTROL)] {
        assert_eq!(
            app.on_key(KeyEvent::new(KeyCode::Char(key), modifiers)),
            Action::Quit
        );
    }
}

/// The manual page describes each column.
#[test]
fn columns_of_the_manual_page() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../Documentation/man/rnvme-top.1"
    );
    let page = std::fs::read_to_string(path).unwrap();
    let section = page.split("\n.SH ").find(|s| s.starts_with("COLUMNS\n"));
    let words: Vec<&str> = section
        .unwrap()
        .lines()
        .filter(|line| line.starts_with(".B"))
        .flat_map(|line| line.split([' ', ',', '"']))
        .collect();
    for column in super::columns::COLUMNS {
        assert!(words.contains(&column.title), "{}", column.title);
    }
}
