//! What the terminal can, and how wide it is.

use super::Graphics;

/// How the terminal shows pictures; nothing if it is none that shows any.
///
/// `$BITKIN_GRAPHICS` is believed; then what a terminal says of itself in the environment; then what it
/// answers when it is asked.
pub(super) fn graphics() -> Option<Graphics> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let blocks = match variable("COLORTERM").as_str() {
        "truecolor" | "24bit" => Graphics::Blocks,
        _ => Graphics::FewColours,
    };
    match variable("BITKIN_GRAPHICS").to_lowercase().as_str() {
        "kitty" => return Some(Graphics::Kitty),
        "iterm" => return Some(Graphics::Iterm),
        "sixel" => return Some(Graphics::Sixel),
        "blocks" => return Some(blocks),
        "none" => return None,
        _ => {}
    }
    let term = variable("TERM");
    if term == "dumb" {
        return None;
    }
    // Within tmux and screen the variables tell of the terminal outside, to which pictures do not come.
    let within = term.starts_with("tmux") || term.starts_with("screen");
    if !within {
        let program = variable("TERM_PROGRAM");
        if !variable("KITTY_WINDOW_ID").is_empty()
            || ["kitty", "ghostty"].iter().any(|name| term.contains(name))
        {
            return Some(Graphics::Kitty);
        }
        if ["iTerm.app", "WezTerm", "mintty"].contains(&program.as_str()) {
            return Some(Graphics::Iterm);
        }
    }
    Some(understood(&answer().unwrap_or_default()).unwrap_or(blocks))
}

/// What an answer to [`QUESTION`] says.
fn understood(answer: &[u8]) -> Option<Graphics> {
    let answer = String::from_utf8_lossy(answer);
    if answer.contains("\x1b_Gi=31;OK") {
        return Some(Graphics::Kitty);
    }
    // The device's attributes; 4 is for sixels.
    let attributes = answer.split("\x1b[?").nth(1)?.split('c').next()?;
    attributes
        .split(';')
        .any(|attribute| attribute == "4")
        .then_some(Graphics::Sixel)
}

/// Asks whether kitty's protocol is understood, and then what every terminal answers: so that an answer ends.
#[cfg(unix)]
const QUESTION: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c";

/// How long an answer is waited for, over a slow connection, too. Only a terminal that never answers costs it.
#[cfg(unix)]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(unix)]
fn answer() -> Option<Vec<u8>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    use std::io::{Read, Write};

    let mut terminal = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
    let mut answer = Vec::new();
    let mut ask = || -> Option<()> {
        terminal.write_all(QUESTION).ok()?;
        let end = std::time::Instant::now() + PATIENCE;
        let is_whole = |answer: &[u8]| {
            let at = answer.windows(3).position(|bytes| bytes == b"\x1b[?");
            at.is_some_and(|at| answer[at..].contains(&b'c'))
        };
        while !is_whole(&answer) && answer.len() < 4096 {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let left = Timespec::try_from(left).ok()?;
            let ready = poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&left)).ok()?;
            if ready == 0 {
                return None;
            }
            let mut bytes = [0; 256];
            let count = terminal.read(&mut bytes).ok()?;
            if count == 0 {
                return None;
            }
            answer.extend_from_slice(&bytes[..count]);
        }
        Some(())
    };
    // An answer that is not whole says nothing.
    let whole = ask();
    let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    whole.map(|()| answer)
}

#[cfg(not(unix))]
fn answer() -> Option<Vec<u8>> {
    None
}

/// Columns of the terminal.
pub(super) fn columns() -> u32 {
    #[cfg(unix)]
    let known = rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| u32::from(size.ws_col));
    #[cfg(not(unix))]
    let known: Option<u32> = None;
    known.filter(|columns| *columns > 0).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        assert_eq!(
            understood(b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c"),
            Some(Graphics::Kitty)
        );
        assert_eq!(understood(b"\x1b[?62;4;22c"), Some(Graphics::Sixel));
        assert_eq!(understood(b"\x1b[?62;4c"), Some(Graphics::Sixel));
        assert_eq!(understood(b"\x1b[?64;14;24c"), None);
        assert_eq!(understood(b""), None);
    }
}
