"""The options of viewos-run, and profiles, which say the same in a file.

Not argparse: the shorthands of COMMANDS take effect in the order given and some take two words, and
loading it would cost a fifth of the time that `viewos-run true` may take.
"""

from __future__ import annotations

import os

from . import shorthands

TYPE_CHECKING = False  # typing is not loaded: it takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from viewosd.keeper.plan import Step

USAGE: Final = """\
usage: viewos-run [OPTION]... [--] PROG [ARG]...
Run PROG in a new view.

  -V, --viewname NAME          name the view
  -p, --preload SERVICE[,OPTION]...
                               load a service before PROG starts; repeatable, in order
  -f, --rc FILE                run FILE inside the view first, instead of ~/.viewosrc
      --no-rc                  run neither /etc/viewosrc nor ~/.viewosrc
  -P, --profile NAME           options from a file: its path, or NAME in
                               ~/.config/viewos/profiles or /etc/viewos/profiles
      --hide PATH              PATH does not exist
      --move SRC DST           SRC appears at DST, and no more where it was
      --bind SRC DST           SRC appears at DST too
      --ro PATH                PATH can't be written
      --tmpfs PATH             PATH is an empty private directory
      --cow PATH[=LAYER]       changes below PATH go to LAYER: a directory, or @NAME, several with
                               colons between; without LAYER to one that the view keeps
      --mount TYPE[,OPTION]... SRC DST
                               any type that a service offers
      --net SPEC               none: a network of its own with nothing in it; nat: one with a way
                               out; host; ,name=NAME: not the default, but at /dev/net/NAME
      --publish [HOSTADDR:]HOSTPORT:PORT[/udp]
                               with --net nat: the host's port leads to the view's
      --hostname NAME          the name of the machine
      --uname FIELD=VALUE      sysname, nodename, release, version, machine, domainname
  -d, --detach                 print the view's id and return; PROG runs on
  -s, --secure                 from inside, only capabilities let somebody change the view
  -x, --nonesting              services see the real system, not the view
  -q, --quiet                  no warnings
  -o, --output FILE            append diagnostics to FILE
  -v, --version                print the version
  -h, --help                   print this

Exit status: that of PROG; 128+N if signal N ended it; 127 PROG not found, 126 PROG can't be
executed, 125 viewos-run itself failed.
"""
_UNAME: Final = ("sysname", "nodename", "release", "version", "machine", "domainname")
# Long options: how many words they take. What the letters stand for.
_WORDS: Final = {
    "viewname": 1, "preload": 1, "rc": 1, "no-rc": 0, "profile": 1, "hostname": 1, "uname": 1,
    "publish": 1,
    "detach": 0, "secure": 0, "nonesting": 0, "quiet": 0, "output": 1, "version": 0, "help": 0,
} | shorthands.WORDS  # fmt: skip
_LETTERS: Final = {
    "V": "viewname", "p": "preload", "f": "rc", "P": "profile", "d": "detach", "s": "secure",
    "x": "nonesting", "q": "quiet", "o": "output", "v": "version", "h": "help",
}  # fmt: skip
# Shorthands for services that are not part of this installation yet; each row goes when its service
# comes.
_NEEDS: Final = {
    "time": "misctime",
    "user": "identity", "as-root": "identity", "foreign": "umbinfmt", "interp": "umbinfmt",
}  # fmt: skip


class OptionError(Exception):
    """What was asked for can't be understood or done; one line."""


class Options:
    """What the command line and its profiles ask for."""

    def __init__(self) -> None:
        self.viewname = ""
        self.steps: list[Step] = []
        self.rc: str | None = None
        self.no_rc = False
        self.detach = self.secure = self.nonesting = self.quiet = False
        self.output: str | None = None
        self.show = ""  # "version" or "help": print that and do nothing else
        self.argv: list[str] = []
        self._published: list[str] = []
        self._uname: dict[str, str] = {}
        self._uname_at: int | None = None

    @classmethod
    def parse(cls, words: list[str]) -> Options:
        """Options end at the first word that is none, or after "--".

        Raises:
            OptionError: an option is unknown, lacks its value or has a bad one, or PROG is missing.
        """
        options = cls()
        rest = list(words)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            word = rest.pop(0)
            if word == "--":
                break
            for name, shown, given in _split(word):
                values = [] if given is None else [given]
                while len(values) < _WORDS[name]:
                    if not rest:
                        many = f"{_WORDS[name]} values" if _WORDS[name] > 1 else "a value"
                        raise OptionError(f"{shown} needs {many}")
                    values.append(rest.pop(0))
                if name in shorthands.WORDS:
                    options._shorthand(name, values)
                else:
                    options._set(name, shown, "".join(values))
                if options.show:
                    return options
        options.argv = rest
        if not rest:
            raise OptionError("no program to run; usage: viewos-run [OPTION]... [--] PROG [ARG]...")
        options._put_uname()
        options._put_published()
        return options

    def _set(self, name: str, shown: str, value: str) -> None:
        if name in ("detach", "secure", "nonesting", "quiet"):
            setattr(self, name, True)
        elif name in ("version", "help"):
            self.show = name
        elif name == "no-rc":
            self.no_rc = True
        elif not value:
            raise OptionError(f"{shown} needs a value that is not empty")
        elif name == "viewname":
            self._name(value, shown)
        elif name == "preload":
            self.steps.append(("service", from_here(value)))
        elif name == "rc":
            self.rc = value
        elif name == "output":
            self.output = value
        elif name == "publish":
            self._published.append(value)
        elif name == "profile":
            self._profile(value)
        else:
            field, equals, text = value.partition("=")
            if name == "hostname":
                field, text = "nodename", value
            elif not equals or field not in _UNAME:
                known = ", ".join(_UNAME)
                raise OptionError(f"{shown} {value}: not FIELD=VALUE with one of {known}")
            if self._uname_at is None:
                self._uname_at = len(self.steps)
            self._uname[field] = text

    def _shorthand(self, name: str, words: list[str]) -> None:
        try:
            self.steps += shorthands.steps(name, words, self.steps)
        except shorthands.ShorthandError as error:
            raise OptionError(str(error)) from None

    def _name(self, value: str, shown: str) -> None:
        if not value.isprintable():
            raise OptionError(f"{shown}: a view's name is of printable characters")
        self.viewname = value

    def _put_uname(self) -> None:
        """All of them are one service, which stands where the first of them stood."""
        if self._uname_at is not None:
            fields = [f"{field}={escape(text)}" for field, text in self._uname.items()]
            self.steps.insert(self._uname_at, ("service", ",".join(("misc", *fields))))

    def _put_published(self) -> None:
        """They belong to a --net, which may stand behind them."""
        try:
            for word in self._published:
                self.steps = shorthands.publish(word, self.steps)
        except shorthands.ShorthandError as error:
            raise OptionError(str(error)) from None

    def _profile(self, name: str) -> None:
        path, table = _read_profile(name)
        for key, value in table.items():
            if key in _NEEDS:
                raise OptionError(f"{path}: {needs(key)}")
            if key == "services":
                if not isinstance(value, list) or not all(isinstance(s, str) and s for s in value):
                    raise OptionError(f"{path}: services is a list of texts")
                self.steps += [("service", from_here(text)) for text in value]
            elif key in shorthands.WORDS:
                self._profile_shorthand(path, key, value)
            elif key not in ("name", "rc"):
                known = ", ".join(("services", "name", "rc", *shorthands.WORDS))
                raise OptionError(f"{path}: unknown key {key!r}; known are {known}")
            elif not isinstance(value, str) or not value:
                raise OptionError(f"{path}: {key} is a text that is not empty")
            elif key == "name":
                self._name(value, f"{path}: name")
            else:
                self.rc = value

    def _profile_shorthand(self, path: str, key: str, value: Any) -> None:
        """A list with an item for each time that the option would be given."""
        count = shorthands.WORDS[key]
        for item in value if isinstance(value, list) else [None]:
            words: Any = [item] if count == 1 else item
            texts = isinstance(words, list) and all(isinstance(word, str) for word in words)
            if not texts or len(words) != count:
                wants = "texts" if count == 1 else f"lists of {count} texts"
                raise OptionError(f"{path}: {key} is a list of {wants}")
            self._shorthand(key, words)


def _split(word: str) -> Iterator[tuple[str, str, str | None]]:
    """Name, spelling and value of the options in a word: --long, --long=VALUE, -q, -qx, -VNAME."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        if name in _NEEDS:
            raise OptionError(needs(name, "--"))
        if name not in _WORDS:
            raise OptionError(f"unknown option --{name}; viewos-run -h lists them")
        if equals and not _WORDS[name]:
            raise OptionError(f"--{name} takes no value")
        yield name, f"--{name}", value if equals else None
        return
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter not in _LETTERS:
            raise OptionError(f"unknown option -{letter}; viewos-run -h lists them")
        name = _LETTERS[letter]
        if _WORDS[name]:
            yield name, f"-{letter}", letters or None
            return
        yield name, f"-{letter}", None


def needs(name: str, dashes: str = "") -> str:
    """Why a shorthand is refused."""
    return f"{dashes}{name} needs the service {_NEEDS[name]}, which is not installed"


def from_here(asked: str) -> str:
    """SERVICE[,OPTION]... for a supervisor, or a later one, that is somewhere else: a service file
    by its absolute path.
    """
    name, comma, options = asked.partition(",")
    if "/" in name or name.endswith(".py"):
        name = escape(os.path.abspath(name))
    return name + comma + options


def escape(text: str) -> str:
    """A value inside SERVICE,OPTION=VALUE,...: a comma and a backslash get a backslash."""
    return text.replace("\\", "\\\\").replace(",", "\\,")


def home() -> str:
    """The user's directory: $HOME, else what the user database says, else ""."""
    if found := os.environ.get("HOME"):
        return found
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _read_profile(name: str) -> tuple[str, dict[str, Any]]:
    import tomllib

    if "/" in name or name.endswith(".toml"):
        paths = [name]
    else:
        places = (f"{home()}/.config/viewos/profiles", "/etc/viewos/profiles")
        paths = [f"{place}/{name}.toml" for place in places]
    for path in paths:
        try:
            with open(path, "rb") as file:
                return path, tomllib.load(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OptionError(f"{path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionError(f"{path}: {error}") from None
    raise OptionError(f"no profile {name}: there is no {' and no '.join(paths)}")
