//! Lines that are typed at a terminal.

use super::complete::{Completion, Surroundings};
use super::style::{Colours, Hints};
use super::{Next, Shell};
use crate::error::Failure;
use crate::grammar::{Line, Shell as Arguments};
use crate::interrupt;
use crate::output::{counted, plain, say};
use crate::session::{Access, Session};
use clap::CommandFactory;
use etcetera::BaseStrategy;
use parking_lot::Mutex;
use reedline::{
    ColumnarMenu, Emacs, FileBackedHistory, History, KeyCode, KeyModifiers, MenuBuilder, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal,
    default_emacs_keybindings,
};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Lines that the history keeps.
const REMEMBERED: usize = 10_000;

/// The name under which the line editor knows the menu of completions.
const MENU: &str = "completions";

/// Reads lines and runs them, until the user leaves.
///
/// # Errors
/// When the terminal cannot be read, or a signal ends the program.
pub(super) fn run(shell: &mut Shell<'_>, arguments: &Arguments) -> Result<(), Failure> {
    greet(shell.session, &arguments.database)?;
    let mut whole = Line::command();
    whole.build();
    let mut grammar = shell.grammar.clone();
    grammar.build();
    let around = Arc::new(Surroundings {
        grammar,
        whole,
        database: Mutex::new(None),
    });
    // Set by a signal while the prompt waits.
    let leave = Arc::new(AtomicBool::new(false));
    let mut editor = editor(&around, &leave).with_history(history(arguments.no_history));
    loop {
        let prompt = prompt(shell.session, &arguments.database);
        *around.database.lock() = shell.session.kept_handle();
        let signal = interrupt::at_prompt(&leave, || editor.read_line(&prompt));
        // A line may close the database, or take it away.
        *around.database.lock() = None;
        let typed = match signal {
            Ok(Signal::Success(typed)) => typed,
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(Signal::ExternalBreak(_)) => return Err(Failure::silent(crate::error::INTERRUPTED)),
            Ok(_) => continue,
            Err(error) => return Err(Failure::new(format!("cannot read the terminal: {error}"))),
        };
        // What was typed is kept even if its line never returns. A history that cannot be written is told
        // at the beginning.
        let _ = editor.sync_history();
        // Several lines, if they were pasted.
        for line in typed.lines() {
            match shell.run(line) {
                Ok(Next::Line) => {}
                Ok(Next::End) => return Ok(()),
                // It was told; the lines pasted behind it may rest upon it.
                Err(_) => break,
            }
        }
    }
}

/// Says what there is.
fn greet(session: &mut Session, path: &Path) -> Result<(), Failure> {
    let path = plain(&path.display().to_string());
    let version = env!("CARGO_PKG_VERSION");
    let ways = "help lists the verbs, Tab completes, Ctrl-D leaves";
    match session.kept() {
        Some((Some(database), access)) => {
            let stats = database.stats().map_err(crate::verbs::failure)?;
            let rows = counted(stats.rows, "row");
            let collections = counted(stats.collections.len() as u64, "collection");
            say(format!("bitkin {version}: {rows} in {collections}; {ways}"));
            if let Access::ReadMeanwhile(why) = access {
                let why = why.strip_prefix("error: ").unwrap_or(why);
                say(format!("only to read: {why}"));
            }
        }
        _ => {
            say(format!("bitkin {version}; {ways}"));
            say(format!(
                "{path} does not exist yet: create NAME --bits N makes it"
            ));
        }
    }
    Ok(())
}

fn editor(around: &Arc<Surroundings>, leave: &Arc<AtomicBool>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let next = ReedlineEvent::UntilFound(vec![
        ReedlineEvent::Menu(MENU.to_owned()),
        ReedlineEvent::MenuNext,
    ]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, next);
    keys.add_binding(
        KeyModifiers::SHIFT,
        KeyCode::BackTab,
        ReedlineEvent::MenuPrevious,
    );
    let menu = ColumnarMenu::default().with_name(MENU).with_columns(1);
    Reedline::create()
        .with_completer(Box::new(Completion(Arc::clone(around))))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_highlighter(Box::new(Colours(Arc::clone(around))))
        .with_hinter(Box::new(Hints::new(Arc::clone(around))))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_ansi_colors(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
        .with_history_exclusion_prefix(Some(" ".to_owned()))
        .with_break_signal(Arc::clone(leave))
        .use_bracketed_paste(true)
}

/// The lines of earlier sessions, unless the user wants none or there is no place for them.
fn history(none: bool) -> Box<dyn History> {
    let file = if none { None } else { history_file() };
    if let Some(file) = file {
        match open_history(&file) {
            Ok(history) => return Box::new(history),
            Err(error) => {
                let file = plain(&file.display().to_string());
                say(format!("no history: {file}: {error}"));
            }
        }
    }
    Box::<FileBackedHistory>::default()
}

/// `$BITKIN_HISTORY`; nothing if it is empty. Otherwise in the folder that the system has for such.
fn history_file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("BITKIN_HISTORY") {
        return Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty());
    }
    let folders = etcetera::choose_base_strategy().ok()?;
    let state = folders.state_dir().unwrap_or_else(|| folders.data_dir());
    Some(state.join("bitkin").join("history"))
}

fn open_history(file: &Path) -> Result<FileBackedHistory, String> {
    let told = |e: io::Error| e.to_string();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(told)?;
    }
    // Paths and conditions are nobody else's business.
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map_err(told)?;
    FileBackedHistory::with_file(REMEMBERED, file.to_owned()).map_err(|e| e.to_string())
}

/// `photos.bitkin> `
struct Sign(String);

fn prompt(session: &Session, path: &Path) -> Sign {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or(path.as_os_str());
    let mut sign = plain(&name.to_string_lossy());
    if let Some((_, Access::ReadMeanwhile(_) | Access::ReadOnly)) = session.kept() {
        sign.push_str(" (to read)");
    }
    Sign(sign)
}

impl Prompt for Sign {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed(": ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!(" (earlier: {}) ", search.term))
    }
}
