//! A child under supervision: its output arrives piece by piece, it has a time limit, and it never outlives us.
//!
//! The child is killed when its [`Child`] is dropped, and (on Linux) by the system when the thread that started it
//! ends, however it ends: a signal that kills this program leaves no QEMU behind. So a child is watched by the
//! thread that started it.

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// What the child's stdin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing: the child never waits for somebody to type.
    Nothing,
    /// Our terminal. The child may change the terminal's mode, so it is asked to end before it is made to.
    Terminal,
}

/// A piece of the child's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// From stdout: bytes as they came.
    Output(Vec<u8>),
    /// From stderr.
    Diagnostic(Vec<u8>),
}

/// What the watcher of the output wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// More output.
    GoOn,
    /// The child's end: it has this long to end by itself. Asked for again, the first time counts.
    EndWithin(Duration),
}

/// How the child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It was killed because the watcher asked for the end.
    Stopped,
    /// It was killed at its time limit.
    TimeLimit,
}

/// Starts the command and hands its output to `watcher` until it ends.
///
/// # Errors
/// When the command cannot be started or waited for.
pub(crate) fn watch(
    command: &mut Command,
    input: Input,
    limit: Option<Duration>,
    watcher: &mut dyn FnMut(Piece) -> Result<Next>,
) -> Result<Ending> {
    let mut child = Child::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()), input)?;
    let pieces = child.pieces();
    let mut deadline = limit.map(|limit| Instant::now() + limit);
    let mut at_deadline = Ending::TimeLimit;
    loop {
        let piece = match deadline {
            None => pieces.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        match piece {
            Ok(piece) => {
                if let Next::EndWithin(grace) = watcher(piece)?
                    && at_deadline == Ending::TimeLimit
                {
                    let end = Instant::now() + grace;
                    deadline = Some(deadline.map_or(end, |deadline| deadline.min(end)));
                    at_deadline = Ending::Stopped;
                }
                // A flood of output must not keep the child past its limit.
                if deadline.is_none_or(|deadline| Instant::now() < deadline) {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if let Some(status) = child.wait_until(deadline)? {
                    return Ok(Ending::Exited(status));
                }
            }
        }
        drop(child);
        for piece in pieces.try_iter() {
            watcher(piece)?;
        }
        return Ok(at_deadline);
    }
}

struct Child {
    child: std::process::Child,
    input: Input,
}

impl Child {
    fn start(command: &mut Command, input: Input) -> Result<Self> {
        command.stdin(match input {
            Input::Nothing => Stdio::null(),
            Input::Terminal => Stdio::inherit(),
        });
        end_with_us(command, input);
        let child = command.spawn().with_context(|| format!("{} cannot be started", program(command)))?;
        Ok(Self { child, input })
    }

    /// The output of both streams; the channel ends when both are closed.
    fn pieces(&mut self) -> mpsc::Receiver<Piece> {
        let (sender, receiver) = mpsc::channel();
        if let Some(stream) = self.child.stdout.take() {
            forward(stream, sender.clone(), Piece::Output);
        }
        if let Some(stream) = self.child.stderr.take() {
            forward(stream, sender, Piece::Diagnostic);
        }
        receiver
    }

    /// The status, or `None` when the deadline passes first.
    fn wait_until(&mut self, deadline: Option<Instant>) -> io::Result<Option<ExitStatus>> {
        let Some(deadline) = deadline else { return self.child.wait().map(Some) };
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if self.input == Input::Terminal {
            self.ask_to_end();
            if matches!(self.wait_until(Some(Instant::now() + Duration::from_secs(1))), Ok(Some(_))) {
                return;
            }
        }
        // A child that is gone already cannot be killed, and that is right too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
impl Child {
    fn ask_to_end(&self) {
        if let Ok(pid) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: kill touches no memory of ours. The child has not been waited for (`try_wait` in `drop` found
            // it running), so its pid belongs to nobody else.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }
}

#[cfg(not(unix))]
impl Child {
    fn ask_to_end(&self) {}
}

/// Makes the system end the child when the thread that starts it ends.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command, input: Input) {
    use std::os::unix::process::CommandExt as _;
    // On a terminal QEMU gets the chance to put the terminal back as it was.
    let signal = if input == Input::Terminal { libc::SIGTERM } else { libc::SIGKILL };
    let parent = std::process::id();
    let set_up = move || {
        // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // If the parent ended before the call, no signal will come.
        // SAFETY: getppid takes nothing and cannot fail.
        if u32::try_from(unsafe { libc::getppid() }) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls and nothing else: it takes no lock and
    // allocates nothing (both error constructors hold a number), as a child of a program with threads must.
    unsafe { command.pre_exec(set_up) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_command: &mut Command, _input: Input) {}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn forward(mut stream: impl Read + Send + 'static, pieces: Sender<Piece>, kind: fn(Vec<u8>) -> Piece) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if pieces.send(kind(buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn watch_all(script: &str, limit: Duration) -> Result<(Ending, String, String)> {
        let (mut output, mut diagnostics) = (Vec::new(), Vec::new());
        let ending = watch(&mut sh(script), Input::Nothing, Some(limit), &mut |piece| {
            match piece {
                Piece::Output(bytes) => output.extend(bytes),
                Piece::Diagnostic(bytes) => diagnostics.extend(bytes),
            }
            Ok(Next::GoOn)
        })?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((ending, text(output), text(diagnostics)))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_diagnostics_and_status_arrive() {
        let (ending, output, diagnostics) = watch_all("printf a; printf b >&2; printf c; exit 33", LONG).unwrap();
        assert!(matches!(ending, Ending::Exited(status) if status.code() == Some(33)));
        assert_eq!((output.as_str(), diagnostics.as_str()), ("ac", "b"));
    }

    #[test]
    fn stdin_is_empty() {
        assert_eq!(watch_all("cat; echo end", LONG).unwrap().1, "end\n");
    }

    #[test]
    fn a_silent_child_ends_at_its_limit() {
        let start = Instant::now();
        let (ending, output, _) = watch_all("printf T; exec sleep 600", Duration::from_millis(300)).unwrap();
        assert_eq!(ending, Ending::TimeLimit);
        assert_eq!(output, "T");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_flood_does_not_outrun_the_limit() {
        let mut bytes = 0;
        let limit = Some(Duration::from_millis(300));
        let ending = watch(&mut sh("exec yes"), Input::Nothing, limit, &mut |piece| {
            if let Piece::Output(piece) = piece {
                bytes += piece.len();
            }
            Ok(Next::GoOn)
        });
        assert_eq!(ending.unwrap(), Ending::TimeLimit);
        assert!(bytes > 0);
    }

    #[test]
    fn a_child_that_closed_its_output_still_has_a_limit() {
        let (ending, ..) = watch_all("exec >&- 2>&-; exec sleep 600", Duration::from_millis(300)).unwrap();
        assert_eq!(ending, Ending::TimeLimit);
    }

    #[test]
    fn the_watcher_can_ask_for_the_end() {
        let ending = watch(&mut sh("echo panic; exec sleep 600"), Input::Nothing, Some(LONG), &mut |_| {
            Ok(Next::EndWithin(Duration::from_millis(100)))
        });
        assert_eq!(ending.unwrap(), Ending::Stopped);
        let ending = watch(&mut sh("echo panic; exit 35"), Input::Nothing, Some(LONG), &mut |_| {
            Ok(Next::EndWithin(Duration::from_secs(30)))
        });
        assert!(matches!(ending.unwrap(), Ending::Exited(status) if status.code() == Some(35)));
    }

    #[test]
    fn what_cannot_be_started_is_named() {
        let error = watch(&mut Command::new("/nowhere/qemu"), Input::Nothing, None, &mut |_| Ok(Next::GoOn));
        assert!(error.unwrap_err().to_string().contains("/nowhere/qemu"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_does_not_outlive_the_thread_that_started_it() {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut command = sh("exec sleep 600");
            let child = Child::start(&mut command, Input::Nothing).unwrap();
            sender.send(child.child.id()).unwrap();
            // Not dropped: only the system can end it.
            std::mem::forget(child);
        });
        let process = format!("/proc/{}/stat", receiver.recv().unwrap());
        let gone = || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
        let start = Instant::now();
        while !gone() {
            assert!(start.elapsed() < Duration::from_secs(30), "still there");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
