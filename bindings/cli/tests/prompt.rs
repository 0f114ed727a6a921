//! `bitkin shell` at a terminal: typed, completed, recalled, cancelled.
#![cfg(unix)]

mod common;
#[path = "common/terminal.rs"]
mod terminal;

use common::{Place, noise};
use terminal::{Kind, Terminal};
use vt100::Color;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";
const RIGHT: &str = "\x1b[C";

/// A database with 300 codes of 64 bits, and payloads, in a collection `birds`.
fn filled() -> Place {
    let place = Place::new();
    let rows: Vec<String> = noise(1, 300 * 8)
        .chunks(8)
        .enumerate()
        .map(|(id, code)| {
            let code: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
            format!(
                "{{\"id\": {id}, \"code\": \"{code}\", \"payload\": {{\"year\": {}}}}}",
                2000 + id
            )
        })
        .collect();
    std::fs::write(place.path("rows.jsonl"), rows.join("\n")).unwrap();
    place.run("create db birds --bits 64").good();
    place.run("import db birds rows.jsonl").good();
    place
}

fn shell(place: &Place) -> Terminal {
    let terminal = Terminal::run(place, &["shell", "db"], Kind::Text);
    terminal.wait_line("db>");
    terminal
}

#[test]
fn lines_are_answered_and_timed_until_exit() {
    let place = filled();
    let terminal = shell(&place);
    terminal.wait("300 rows in 1 collection");
    terminal.press("get birds 42\r");
    terminal.wait("year  2042");
    terminal.wait_for("the time", |screen| {
        screen.contains(" ms\n") || screen.contains(" s\n")
    });
    terminal.wait_line("db>");
    terminal.press("exit\r");
    assert_eq!(terminal.end(), 0);
    let terminal = shell(&place);
    terminal.press(CTRL_D);
    assert_eq!(terminal.end(), 0);
}

#[test]
fn tab_completes_what_the_grammar_and_the_database_know() {
    let place = filled();
    let terminal = shell(&place);
    terminal.press("sea\t");
    terminal.wait_line(
        "db> search NAME --code HEX | --image FILE | --queries FILE.npy | --like DIR|FILE",
    );
    terminal.press("bi\t");
    terminal.wait_line(
        "db> search birds --code HEX | --image FILE | --queries FILE.npy | --like DIR|FILE",
    );
    terminal.press("--wh\t");
    terminal.wait_line("db> search birds --where EXPR");
    terminal.press("ye\t");
    terminal.wait_line("db> search birds --where \"year");
    terminal.press("= 2007\" --code 0102030405060708 --f\tj\t");
    terminal.wait_line(
        "db> search birds --where \"year = 2007\" --code 0102030405060708 --format json",
    );
    terminal.press("\r");
    terminal.wait("\"ids\":[7]");
    // Several ways to go on are shown below the line.
    terminal.press("import birds ro\t");
    terminal.wait_line("db> import birds rows.jsonl");
    terminal.press(CTRL_C);
    terminal.wait_line("db>");
    terminal.press("d\t");
    terminal.wait_for("a menu", |screen| {
        screen.contains("dedupe") && screen.contains("delete")
    });
}

#[test]
fn what_cannot_be_right_is_red_before_it_is_run() {
    let place = filled();
    let terminal = shell(&place);
    terminal.press("serch birds");
    terminal.wait("serch birds");
    assert_eq!(terminal.colour("serch"), Color::Idx(1));
    terminal.press(CTRL_C);
    terminal.wait_line("db>");
    terminal.press("get 'birds");
    terminal.wait("get 'birds");
    assert_eq!(terminal.colour("get '"), Color::Idx(2));
    assert_eq!(terminal.colour("'birds"), Color::Idx(1));
    assert_eq!(terminal.colour("birds"), Color::Idx(3));
}

#[test]
fn an_error_does_not_end_the_shell() {
    let place = filled();
    let terminal = shell(&place);
    terminal.press("serch birds\r");
    terminal.wait("similar subcommand");
    terminal.wait_line("db>");
    terminal.press("get birds 99999\r");
    terminal.wait("there is no row 99999");
    terminal.wait_line("db>");
    terminal.press("get 'birds\r");
    terminal.wait("is not closed");
    terminal.wait_line("db>");
    terminal.press("get birds 1\r");
    terminal.wait("year  2001");
    terminal.press("quit\r");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn the_arrow_up_brings_earlier_lines_of_earlier_shells_too() {
    let place = filled();
    let terminal = shell(&place);
    terminal.press("get birds 41\r");
    terminal.wait("year  2041");
    terminal.wait_line("db>");
    terminal.press(" get birds 40\r"); // Not kept: it begins with a space. The next line can still recall it.
    terminal.wait("year  2040");
    terminal.wait_line("db>");
    terminal.press(UP);
    terminal.wait_line("db>  get birds 40");
    terminal.press(UP);
    terminal.wait_line("db> get birds 41");
    terminal.press(CTRL_C);
    terminal.wait_line("db>");
    terminal.press("exit\r");
    assert_eq!(terminal.end(), 0);
    let history = std::fs::read_to_string(place.path("history")).unwrap();
    assert!(
        history.contains("get birds 41") && !history.contains("40"),
        "{history}"
    );

    let terminal = shell(&place);
    terminal.press("get");
    terminal.wait_line("db> get birds 41"); // As a hint, which the arrow takes over.
    terminal.press(RIGHT);
    terminal.press("\r");
    terminal.wait("year  2041");
    drop(terminal);

    let terminal = Terminal::run(&place, &["shell", "db", "--no-history"], Kind::Text);
    terminal.wait_line("db>");
    terminal.press("get birds 39\r");
    terminal.wait("year  2039");
    terminal.wait_line("db>");
    terminal.press("exit\r");
    assert_eq!(terminal.end(), 0);
    assert!(
        !std::fs::read_to_string(place.path("history"))
            .unwrap()
            .contains("39")
    );
}

#[test]
fn ctrl_c_clears_the_line() {
    let place = filled();
    let terminal = shell(&place);
    terminal.press("get birds 1");
    terminal.wait_line("db> get birds 1");
    terminal.press(CTRL_C);
    terminal.wait_line("db>");
    terminal.press("stats birds\r");
    terminal.wait("collection  bits");
    assert!(!terminal.screen().contains("2001"));
}

#[test]
fn ctrl_c_cancels_a_long_line_and_the_shell_goes_on() {
    let place = filled();
    let terminal = shell(&place);
    terminal.press("bench birds --seconds 3600\r");
    terminal.wait("checking answers");
    terminal.press(CTRL_C);
    terminal.wait("stopping");
    terminal.wait_line("db>");
    terminal.press("get birds 1\r");
    terminal.wait("year  2001");
    terminal.press("exit\r");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_search_is_cancelled_too() {
    let place = filled();
    place.codes("queries.npy", 8, &noise(3, 400_000 * 8));
    let terminal = shell(&place);
    terminal.press("search birds --queries queries.npy -k 1 --format json\r");
    terminal.wait("\"query\":");
    terminal.press(CTRL_C);
    terminal.wait_line("db>");
    assert!(
        terminal.screen().contains("error: stopped"),
        "{}",
        terminal.screen()
    );
    terminal.press("get birds 1\r");
    terminal.wait("year  2001");
}

/// A collection of pictures `p` beside the codes.
fn with_pictures() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("pictures")).unwrap();
    for (name, colour) in [("red", [255, 0, 0]), ("blue", [0, 0, 255])] {
        let mut picture = image::RgbImage::from_pixel(64, 64, image::Rgb(colour));
        (0..64).for_each(|at| picture.put_pixel(at, at, image::Rgb([255; 3])));
        picture
            .save(place.path(&format!("pictures/{name}.png")))
            .unwrap();
    }
    place.run("create db p --encoder pdq").good();
    place.run("ingest db p pictures").good();
    place
}

#[test]
fn pictures_are_shown_as_the_terminal_can() {
    let place = with_pictures();
    let search = "search p --image pictures/red.png -k 2 --show\r";
    let terminal = Terminal::run(&place, &["shell", "db"], Kind::Kitty);
    terminal.wait_line("db>");
    terminal.press(search);
    terminal.wait_raw(b"\x1b_Ga=T,f=100,q=2,c=58,r=9,");
    terminal.wait("the query");
    terminal.wait_line("db>");
    terminal.press("get p 0 --show\r");
    terminal.wait_raw(b"\x1b_Ga=T,f=100,q=2,c=18,r=9,");
    drop(terminal);
    let terminal = Terminal::run(&place, &["shell", "db"], Kind::Sixel);
    terminal.wait_line("db>");
    terminal.press(search);
    terminal.wait_raw(b"\x1bP");
    terminal.wait_line("db>");
    drop(terminal);
    // Asked or not, a terminal without graphics gets characters.
    for kind in [Kind::Text, Kind::Silent] {
        let terminal = Terminal::run(&place, &["shell", "db"], kind);
        terminal.wait_line("db>");
        terminal.press(search);
        terminal.wait("the query");
        terminal.wait_line("db>");
        // Within the red of the query's tile, away from its white diagonal.
        assert_eq!(terminal.colour("▀"), Color::Idx(21));
    }
}

#[test]
fn a_signal_from_outside_ends_a_shell_that_waits() {
    let place = filled();
    let terminal = shell(&place);
    let process = terminal.process().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &process])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(terminal.end(), 130);
    // It closed its database.
    place.run("create db c --bits 8").good();
}

#[test]
fn a_database_that_another_writes_is_only_read_until_it_is_free() {
    let place = filled();
    let writer = bitkin::Database::open(place.path("db")).unwrap();
    let terminal = Terminal::run(&place, &["shell", "db"], Kind::Text);
    terminal.wait("only to read");
    terminal.wait_line("db (to read)>");
    terminal.press("delete birds --ids 1\r");
    terminal.wait("open for writing elsewhere");
    terminal.wait_line("db (to read)>");
    writer.close().unwrap();
    terminal.press("delete birds --ids 1\r");
    terminal.wait("1 row deleted");
    terminal.wait_line("db>");
}

#[test]
fn a_database_can_be_made_at_the_prompt() {
    let place = Place::new();
    let terminal = Terminal::run(&place, &["shell", "new"], Kind::Text);
    terminal.wait("new does not exist yet");
    terminal.wait_line("new>");
    terminal.press("create c --bits 8\r");
    terminal.wait("created c");
    terminal.wait_line("new>");
    terminal.press("stats\r");
    terminal.wait("0 rows in 1 collection");
}
