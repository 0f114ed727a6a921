//! A terminal for tests: the program runs on a real pseudo-terminal, and what it draws is on a screen.

use crate::common::Place;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything takes on a machine that is not broken.
const PATIENCE: Duration = Duration::from_secs(120);

const ROWS: NonZeroU16 = NonZeroU16::new(50).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(120).unwrap();

/// What a terminal answers to questions of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text only.
    #[default]
    Text,
    /// It shows pictures by kitty's protocol.
    Kitty,
    /// It shows sixels.
    Sixel,
    /// It says where its cursor is, and answers nothing else.
    Silent,
}

/// A running program, its screen, and everything that it wrote.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    shared: Arc<(Mutex<Shown>, Condvar)>,
}

struct Shown {
    screen: vt100::Parser,
    raw: Vec<u8>,
    /// The program has closed the terminal.
    over: bool,
}

impl Terminal {
    /// Runs the program in `place` with these words.
    pub(crate) fn run(place: &Place, words: &[&str], kind: Kind) -> Terminal {
        let size = PtySize {
            rows: ROWS.get(),
            cols: COLUMNS.get(),
            ..PtySize::default()
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_bitkin"));
        command.args(words);
        command.cwd(place.path(""));
        // A user's own settings are not the tests'.
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.env("BITKIN_HISTORY", place.path("history"));
        command.env("HOME", place.path(""));
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keys = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let shown = Shown {
            screen: vt100::Parser::new(ROWS, COLUMNS, 0),
            raw: Vec::new(),
            over: false,
        };
        let shared = Arc::new((Mutex::new(shown), Condvar::new()));
        let (answers, drawn) = (Arc::clone(&keys), Arc::clone(&shared));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            let mut pending = Vec::new();
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                pending.extend_from_slice(&chunk[..count]);
                let mut shown = drawn.0.lock().unwrap();
                shown.raw.extend_from_slice(&chunk[..count]);
                let answer = draw(&mut shown.screen, &mut pending, kind);
                drop(shown);
                drawn.1.notify_all();
                let _ = answers.lock().unwrap().write_all(&answer);
            }
            drawn.0.lock().unwrap().over = true;
            drawn.1.notify_all();
        });
        Terminal {
            child,
            _master: pair.master,
            keys,
            shared,
        }
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) {
        let mut terminal = self.keys.lock().unwrap();
        terminal.write_all(keys.as_bytes()).unwrap();
        terminal.flush().unwrap();
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    pub(crate) fn wait(&self, text: &str) {
        self.wait_for(text, |shown| shown.contains(text));
    }

    /// Waits until what the screen shows is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        self.until(what, |shown| wanted(&shown.screen.screen().contents()));
    }

    /// Waits until the line with the cursor is `line`.
    #[track_caller]
    pub(crate) fn wait_line(&self, line: &str) {
        self.until(line, |shown| current_line(&shown.screen) == line);
    }

    /// Waits until the program has written these bytes.
    #[track_caller]
    pub(crate) fn wait_raw(&self, bytes: &[u8]) {
        let what = String::from_utf8_lossy(bytes).into_owned();
        self.until(&what, |shown| {
            shown.raw.windows(bytes.len()).any(|there| there == bytes)
        });
    }

    /// The colour of the first cell of the last `text` on the screen.
    pub(crate) fn colour(&self, text: &str) -> vt100::Color {
        let shown = self.shared.0.lock().unwrap();
        let screen = shown.screen.screen();
        let rows: Vec<String> = screen.rows(0, COLUMNS.get()).collect();
        let found = rows.iter().enumerate().rev().find_map(|(row, line)| {
            let at = line.rfind(text)?;
            Some((row, line[..at].chars().count()))
        });
        let (row, column) = found.unwrap_or_else(|| panic!("no {text:?} on the screen"));
        screen.cell(row as u16, column as u16).unwrap().fgcolor()
    }

    /// Everything on the screen.
    pub(crate) fn screen(&self) -> String {
        self.shared.0.lock().unwrap().screen.screen().contents()
    }

    /// Waits for the program to end, and returns its exit code.
    #[track_caller]
    pub(crate) fn end(mut self) -> u32 {
        self.until("the end", |shown| shown.over);
        self.child.wait().unwrap().exit_code()
    }

    /// The program's process.
    pub(crate) fn process(&self) -> u32 {
        self.child.process_id().unwrap()
    }

    #[track_caller]
    fn until(&self, what: &str, wanted: impl Fn(&Shown) -> bool) {
        let begun = Instant::now();
        let mut shown = self.shared.0.lock().unwrap();
        while !wanted(&shown) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let over = shown.over && what != "the end";
            if over || left.is_zero() {
                let screen = shown.screen.screen().contents();
                drop(shown); // Else whoever drops the terminal finds its lock poisoned.
                panic!("waited in vain for {what:?}; the screen shows:\n{screen}");
            }
            shown = self.shared.1.wait_timeout(shown, left).unwrap().0;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // The next one may want its database.
        let _ = self.child.wait();
    }
}

fn current_line(screen: &vt100::Parser) -> String {
    let screen = screen.screen();
    let (row, _) = screen.cursor_position();
    let line = screen
        .rows(0, COLUMNS.get())
        .nth(usize::from(row))
        .unwrap_or_default();
    line.trim_end().to_owned()
}

/// Draws what is pending, and returns what a terminal answers to the questions in it.
fn draw(screen: &mut vt100::Parser, pending: &mut Vec<u8>, kind: Kind) -> Vec<u8> {
    let mut answer = Vec::new();
    let questions: [&[u8]; 3] = [
        b"\x1b[6n",
        b"\x1b[c",
        b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\",
    ];
    loop {
        let found = questions.iter().filter_map(|question| {
            let at = pending
                .windows(question.len())
                .position(|there| there == *question)?;
            Some((at, *question))
        });
        let Some((at, question)) = found.min() else {
            break;
        };
        screen.process(&pending[..at]);
        pending.drain(..at + question.len());
        match question {
            // Where the cursor is.
            b"\x1b[6n" => {
                let (row, column) = screen.screen().cursor_position();
                answer.extend(format!("\x1b[{};{}R", row + 1, column + 1).into_bytes());
            }
            // What the terminal can.
            b"\x1b[c" => answer.extend(match kind {
                Kind::Silent => &b""[..],
                Kind::Sixel => b"\x1b[?62;4;22c",
                Kind::Text | Kind::Kitty => b"\x1b[?62;22c",
            }),
            _ if kind == Kind::Kitty => answer.extend(b"\x1b_Gi=31;OK\x1b\\"),
            _ => {}
        }
    }
    // A question may have come by half.
    let begun = |at: &usize| {
        questions
            .iter()
            .any(|question| question.starts_with(&pending[*at..]))
    };
    let kept = (0..pending.len()).find(begun).unwrap_or(pending.len());
    screen.process(&pending[..kept]);
    pending.drain(..kept);
    answer
}
