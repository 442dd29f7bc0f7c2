//! What a program is called: its own name, and of an interpreter what it runs. All other arguments are left out unless
//! they were asked for: they may be secrets.
//!
//! The first words of a command are a command of the same name, which redaction goes by.

/// Characters of a command at the most.
const LIMIT: usize = 160;

/// How an interpreter is told what to run: letters of its options.
struct Interpreter {
    names: &'static [&'static str],
    /// Of the option that the code itself follows.
    code: &'static str,
    /// Of the one that the name of a module follows.
    module: &'static str,
    /// Of the one that a script follows.
    script: &'static str,
    /// Of those that take a value, which may be the next argument.
    value: &'static str,
    /// Of those that take the rest of their argument.
    rest: &'static str,
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy"],
        code: "c",
        module: "m",
        script: "",
        value: "WX",
        rest: "",
    },
    Interpreter {
        names: &["sh", "bash", "dash", "zsh", "ksh", "ash"],
        code: "c",
        module: "",
        script: "",
        value: "oO",
        rest: "",
    },
    Interpreter {
        names: &["ruby", "jruby"],
        code: "e",
        module: "",
        script: "",
        value: "IrC",
        rest: "EKTWx0F",
    },
    Interpreter {
        names: &["node", "nodejs"],
        code: "ep",
        module: "",
        script: "",
        value: "rC",
        rest: "",
    },
    Interpreter {
        names: &["perl"],
        code: "eE",
        module: "",
        script: "",
        value: "I",
        rest: "MmiVxdlF0CD",
    },
    Interpreter {
        names: &["php"],
        code: "r",
        module: "",
        script: "f",
        value: "dc",
        rest: "",
    },
];

/// The words of a command that are told of every program. `file`: path of the program; `arguments`: each ended by NUL,
/// `cut` where there were more.
pub(crate) fn words(file: &[u8], arguments: &[u8], cut: bool) -> Vec<String> {
    let all = split(arguments);
    let first = all.first().map_or(&[][..], |first| base(first));
    // What is run by its descriptor has the name that it was given.
    let by_name =
        !file.is_empty() && !file.starts_with(b"/proc/") && !file.starts_with(b"/dev/fd/");
    let name = if by_name || first.is_empty() {
        base(file)
    } else {
        first
    };
    if let Some(interpreter) = interpreter(name) {
        return run(interpreter, name, all.get(1..).unwrap_or_default(), cut);
    }
    // A script with a line that names its interpreter: that is the first argument then, and the script follows.
    let given = all.get(1..).unwrap_or_default();
    if let Some(interpreter) = interpreter(first)
        && given.iter().take(2).any(|argument| *argument == file)
    {
        return run(interpreter, first, given, cut);
    }
    vec![text(name)]
}

/// A command for people; `all`: with its arguments.
pub(crate) fn command(file: &[u8], arguments: &[u8], cut: bool, all: bool) -> String {
    let mut words = words(file, arguments, cut);
    if all {
        let name = text(base(file));
        let rest = split(arguments).into_iter().skip(1).map(text);
        words = std::iter::once(name).chain(rest).collect();
    }
    let joined = words.join(" ");
    match joined.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}…", &joined[..at]),
        None => joined,
    }
}

fn split(arguments: &[u8]) -> Vec<&[u8]> {
    let whole = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    whole.split(|byte| *byte == 0).collect()
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.replace(char::is_control, "\u{fffd}")
}

/// By its name without a version.
fn interpreter(name: &[u8]) -> Option<&'static Interpreter> {
    let name = std::str::from_utf8(name).ok()?;
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.iter().find(|it| it.names.contains(&plain))
}

/// What an option says.
enum Said<'a> {
    Code,
    /// The value that names a module or a script; `None`: the next argument is it.
    Module(Option<&'a [u8]>),
    Script(Option<&'a [u8]>),
    /// The next argument is a value.
    Value,
    Nothing,
}

impl Interpreter {
    fn said<'a>(&self, option: &'a [u8]) -> Said<'a> {
        for (at, letter) in option.iter().enumerate() {
            let is_in = |letters: &str| letters.as_bytes().contains(letter);
            let rest = &option[at + 1..];
            let rest = (!rest.is_empty()).then_some(rest);
            if is_in(self.code) {
                return Said::Code;
            } else if is_in(self.module) {
                return Said::Module(rest);
            } else if is_in(self.script) {
                return Said::Script(rest);
            } else if is_in(self.rest) {
                return Said::Nothing;
            } else if is_in(self.value) {
                return if rest.is_some() {
                    Said::Nothing
                } else {
                    Said::Value
                };
            }
        }
        Said::Nothing
    }
}

fn run(interpreter: &Interpreter, name: &[u8], given: &[&[u8]], cut: bool) -> Vec<String> {
    let mut words = vec![text(name)];
    let mut at = 0;
    while let Some(argument) = given.get(at).copied() {
        let is_last = cut && at + 1 == given.len();
        at += 1;
        let script = |path: &[u8]| {
            let more = if is_last { "…" } else { "" };
            format!("{}{more}", text(base(path)))
        };
        let option = match argument {
            [b'-', b'-', ..] => continue,
            [b'-', option @ ..] if !option.is_empty() => option,
            b"-" | b"" => break,
            path => {
                words.push(script(path));
                break;
            }
        };
        match interpreter.said(option) {
            Said::Nothing => {}
            Said::Value => at += 1,
            Said::Code => {
                let letter = option
                    .iter()
                    .find(|l| interpreter.code.as_bytes().contains(l));
                words.push(format!("-{}", letter.map_or('c', |l| char::from(*l))));
                break;
            }
            Said::Module(module) => {
                words.push("-m".to_owned());
                words.extend(module.or(given.get(at).copied()).map(text));
                break;
            }
            Said::Script(path) => {
                words.extend(path.or(given.get(at).copied()).map(script));
                break;
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &str, arguments: &[&str]) -> String {
        let mut bytes = arguments.join("\0").into_bytes();
        bytes.push(0);
        let command = command(file.as_bytes(), &bytes, false, false);
        // What redaction keeps is of the same name.
        let kept = words(file.as_bytes(), &bytes, false);
        let again = super::command(kept[0].as_bytes(), kept.join("\0").as_bytes(), false, false);
        assert_eq!(again, command);
        command
    }

    #[test]
    fn programs_are_told_without_their_arguments() {
        for (file, arguments, expected) in [
            ("/bin/sleep", &["sleep", "5"][..], "sleep"),
            ("mysqldump", &["mysqldump", "-psecret"], "mysqldump"),
            (
                "/usr/bin/python3",
                &["python3", "-m", "http.server", "80"],
                "python3 -m http.server",
            ),
            (
                "/usr/bin/python3.11",
                &["python", "-W", "ignore", "-u", "/srv/manage.py", "secret"],
                "python3.11 manage.py",
            ),
            (
                "/usr/bin/python3",
                &["python3", "-Xdev", "-Ic", "print('secret')"],
                "python3 -c",
            ),
            ("/bin/sh", &["sh", "-c", "echo secret"], "sh -c"),
            (
                "/bin/bash",
                &["bash", "-o", "pipefail", "-lc", "echo secret"],
                "bash -c",
            ),
            ("/bin/sh", &["sh", "/srv/run.sh", "secret"], "sh run.sh"),
            (
                "/srv/tool.py",
                &["/usr/bin/python3", "-E", "/srv/tool.py", "secret"],
                "python3 tool.py",
            ),
            ("/srv/tool", &["tool", "secret"], "tool"),
            (
                "/usr/bin/perl",
                &["perl", "-Mstrict", "-I", "lib", "x.pl"],
                "perl x.pl",
            ),
            (
                "/usr/bin/node",
                &["node", "--max-old-space-size=4", "-r", "dotenv", "a/b.js"],
                "node b.js",
            ),
            (
                "/usr/bin/ruby",
                &["ruby", "-Ilib", "-e", "secret"],
                "ruby -e",
            ),
            (
                "/usr/bin/php",
                &["php", "-d", "a=b", "-f", "/x/y.php", "secret"],
                "php y.php",
            ),
            ("/bin/bash", &["bash"], "bash"),
            ("/usr/bin/python3", &["python3", "-"], "python3"),
            ("/proc/self/fd/4", &["runc", "init"], "runc"),
            ("", &[""], ""),
        ] {
            assert_eq!(told(file, arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn all_arguments_when_asked_for() {
        let bytes = b"sh\0-c\0echo a\nb\0";
        assert_eq!(
            command(b"/bin/sh", bytes, false, true),
            "sh -c echo a\u{fffd}b"
        );
        let long = [b"x\0".to_vec(), vec![b'a'; 300]].concat();
        assert_eq!(command(b"x", &long, true, true).chars().count(), LIMIT + 1);
    }

    #[test]
    fn what_was_cut_is_marked() {
        assert_eq!(
            command(b"python3", b"python3\0/srv/lo", true, false),
            "python3 lo…"
        );
        assert_eq!(
            command(b"python3", b"python3\0a.py\0b", true, false),
            "python3 a.py"
        );
    }
}
