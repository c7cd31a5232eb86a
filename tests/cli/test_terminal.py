"""``chat``, ``run`` and ``resume`` in a real terminal: Ctrl-C at each phase, approvals, input."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from .terminals import CTRL_C, CTRL_D, GUARD, Terminal, environment


@pytest.fixture(autouse=True)
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module ``scripted_agents`` in the working directory, which is nobody's home."""
    shutil.copy(Path(__file__).with_name("scripted_agents.py"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)


def chat(agent: str, *options: str, **more: object) -> Terminal:
    """A chat with an agent of the module."""
    return Terminal("chat", "--agent", f"scripted_agents:{agent}", *options, **more)  # type: ignore[arg-type]


def until_it_runs(terminal: Terminal) -> None:
    """Wait for the tool, which has to have begun before it is interrupted."""
    terminal.wait_for("the model is calling")
    while not Path("runs").exists():
        assert terminal.process.poll() is None


class TestCtrlC:
    def test_once_stops_the_answer_and_keeps_what_was_said(self) -> None:
        with chat("endless") as terminal:
            terminal.enter("hello")
            terminal.wait_for("and so on and so on")
            terminal.send(CTRL_C)
            terminal.wait_for("Ended     stopped")
            terminal.enter("what?")
            terminal.wait_for("I read: hello | and so on and so on")
            terminal.leave()

    def test_once_stops_it_before_the_first_word(self) -> None:
        with chat("silent") as terminal:
            terminal.enter("hello")
            terminal.wait_for("the model is working")
            terminal.send(CTRL_C)
            terminal.wait_for("Ended     stopped")
            terminal.enter("what?")
            terminal.wait_for("I read: hello")
            terminal.leave()

    def test_once_lets_a_tool_in_a_thread_finish(self) -> None:
        with chat("thread") as terminal:
            terminal.enter("hello")
            until_it_runs(terminal)
            terminal.send(CTRL_C)
            terminal.wait_for("stopping when running calls have ended")
            Path("release").touch()
            terminal.wait_for("← result  it was released")
            terminal.wait_for("Ended     stopped")
            terminal.enter("go on")
            terminal.wait_for("it was released | go on")
            terminal.leave()
        assert not Path("told").exists()

    def test_twice_cancels_the_run_and_tells_the_tool(self) -> None:
        with chat("thread") as terminal:
            terminal.enter("hello")
            until_it_runs(terminal)
            terminal.send(CTRL_C)
            terminal.wait_for("stopping")
            terminal.send(CTRL_C)
            terminal.wait_for("Ended     cancelled")
            terminal.enter("go on")
            terminal.wait_for("the call was interrupted")
            terminal.leave()
            while not Path("told").exists() and terminal.process.poll() is None:
                pass

    def test_a_tool_in_a_thread_that_does_not_listen_is_left_behind(self) -> None:
        with chat("deaf_tool") as terminal:
            terminal.enter("hello")
            until_it_runs(terminal)
            terminal.send(CTRL_C)
            terminal.wait_for("stopping")
            terminal.send(CTRL_C)
            terminal.wait_for("Ended     cancelled")
            terminal.enter("/exit")
            assert terminal.end() == 0

    @pytest.mark.parametrize("agent", ["blocked", "kept_blocked"])
    def test_it_ends_the_program_even_when_the_loop_is_blocked(self, agent: str) -> None:
        with chat(agent) as terminal:
            terminal.enter("hello")
            until_it_runs(terminal)
            while terminal.process.poll() is None:  # presses in quick succession count as one
                terminal.send(CTRL_C)
                terminal.wait_for("^C")
                time.sleep(0.1)
            assert terminal.end() == 130
            assert "ling-agent: interrupted" in terminal.text

    def test_three_times_ends_a_run_that_does_not_end(self) -> None:
        """With a stand-in for the presses, which a terminal may join to one."""
        script = (
            "import time\n"
            "from ling_agent.cli.interrupts import Interrupts, Press, interrupting\n"
            "interrupts = Interrupts(*[Press(lambda: print('pressed'), '')] * 2)\n"
            "with interrupting(interrupts):\n"
            "    for _ in range(3): interrupts.press()\n"
            "    print('leaving', flush=True); time.sleep(600)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=GUARD,
        )
        assert done.stdout.split() == ["pressed", "pressed", "leaving"]
        assert (done.returncode, done.stderr) == (130, "\nling-agent: interrupted\n")

    def test_at_the_prompt_it_drops_the_line_and_then_ends(self) -> None:
        with chat("echo") as terminal:
            terminal.wait_for("You       ")
            terminal.send("dropped")
            terminal.wait_for("dropped")
            terminal.send(CTRL_C)
            terminal.wait_for("Ctrl-C again")
            terminal.enter("sent")
            terminal.wait_for("[sent]")
            terminal.wait_for("You       ")
            terminal.send(CTRL_C)
            terminal.wait_for("Ctrl-C again")
            terminal.wait_for("You       ")
            terminal.send(CTRL_C)
            assert terminal.end() == 0
            assert "[dropped" not in terminal.text

    def test_a_run_is_cancelled_and_exits_130(self) -> None:
        with Terminal("run", "x", "--agent", "scripted_agents:endless") as terminal:
            terminal.wait_for("and so on and so on")
            terminal.send(CTRL_C)
            terminal.wait_for("Ended     cancelled")
            terminal.wait_for("ling-agent: interrupted")
            assert terminal.end() == 130


class TestApproval:
    def test_nothing_of_the_call_is_hidden_and_yes_runs_it(self) -> None:
        with chat("buys") as terminal:
            terminal.enter("hello")
            terminal.wait_for("? asks    buy")
            shown = terminal.wait_for("[y/n/e/a/?]")
            assert 'item: "a\\u202egpu\\u001b[2J"' in shown
            terminal.send("y\r")
            terminal.wait_for("← result  bought 1 a")
            terminal.wait_for("I read: hello")
            terminal.leave()

    @pytest.mark.parametrize(
        ("typed", "reason"),
        [(["n too dear"], "too dear"), (["n", "not now"], "not now"), (["n", ""], "the user")],
    )
    def test_no_tells_the_model_why(self, typed: list[str], reason: str) -> None:
        with chat("buys") as terminal:
            terminal.enter("hello")
            for line, question in zip(typed, ("[y/n/e/a/?]", "Enter: "), strict=False):
                terminal.wait_for(question)
                terminal.send(f"{line}\r")
            terminal.wait_for("I read: hello")
            terminal.wait_for(f"was not approved: {reason}")
            terminal.leave()

    def test_the_arguments_can_be_edited_where_they_stand(self) -> None:
        with chat("buys") as terminal:
            terminal.enter("hello")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("e\r")
            terminal.wait_for('JSON      {"item": "a')
            terminal.send("\x15")  # Ctrl-U: from here on it is typed
            terminal.send('{"item": "b", "count": "many"}\r')
            terminal.wait_for("buy does not take this")
            terminal.wait_for('JSON      {"item": "b", "count": "many"}')
            terminal.send("\x7f" * 7 + "7}\r")  # backspace over "many"}
            terminal.wait_for("← result")
            terminal.wait_for("bought 7 b")
            terminal.leave()

    def test_always_is_for_this_session(self) -> None:
        with chat("buys") as terminal:
            terminal.enter("hello")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("a\r")
            terminal.wait_for("I read: ")
            terminal.enter("again")
            before = terminal.wait_for("bought 1 b")
            assert "? asks" not in before
            terminal.leave()

    def test_a_new_session_asks_again(self) -> None:
        with chat("buys") as terminal:
            terminal.enter("hello")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("a\r")
            terminal.wait_for("I read: ")
            terminal.enter("/new")
            terminal.enter("again")
            terminal.wait_for("? asks    buy")
            terminal.send(CTRL_C)
            terminal.wait_for("needs_approval")
            terminal.leave()

    def test_several_are_asked_one_after_the_other(self) -> None:
        with chat("buys_twice") as terminal:
            terminal.enter("hello")
            terminal.wait_for("buy  (1 of 2)")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("?\r")
            terminal.wait_for("leave it open")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("y\r")
            terminal.wait_for("buy  (2 of 2)")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("n\r")
            terminal.wait_for("Enter: ")
            terminal.send("\r")
            terminal.wait_for("bought 1 a")
            terminal.wait_for("I read")
            terminal.leave()

    def test_ctrl_c_leaves_it_open_and_the_next_chat_asks_again(self) -> None:
        with chat("kept_buys", "--session", "s") as terminal:
            terminal.enter("hello")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send(CTRL_C)
            terminal.wait_for("Ended     needs_approval")
            terminal.leave()
            assert "--approve call_1_0" in terminal.text
        with chat("kept_rest", "--session", "s") as terminal:
            terminal.wait_for("waits for your approval")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("y\r")
            terminal.wait_for("bought 1 a")
            terminal.enter("/exit")
            assert terminal.end() == 0

    def test_what_was_typed_before_is_no_answer(self) -> None:
        with chat("typed_ahead") as terminal:
            terminal.enter("hello")
            until_it_runs(terminal)
            terminal.send("y\r")
            terminal.wait_for("y\r\n")  # the terminal has it
            Path("release").touch()
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("n not so\r")
            terminal.wait_for("was not approved: not so")
            terminal.leave()

    def test_the_call_of_a_subagent_is_asked_about_too(self) -> None:
        with chat("boss") as terminal:
            terminal.enter("hello")
            terminal.wait_for('→ call    buyer(task="buy it")')
            terminal.wait_for("? asks    buy")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("y\r")
            terminal.wait_for("│ ← result  bought 1 a")
            terminal.wait_for("I read: hello |  | It is bought.")
            terminal.leave()

    def test_nobody_is_asked_where_no_step_is_left(self) -> None:
        with Terminal("run", "x", "--agent", "scripted_agents:buys_last") as terminal:
            assert terminal.end() == 1
            assert "needs approval" in terminal.text
            assert "[y/n/e/a/?]" not in terminal.text

    def test_run_and_resume_ask_too(self) -> None:
        options = ["--agent", "scripted_agents:kept_buys", "--session", "s"]
        with Terminal("run", "x", *options) as terminal:
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send(CTRL_D)
            assert terminal.end() == 1
            assert "ling-agent resume s --agent scripted_agents:kept_buys --approve call_1_0" in (
                terminal.text
            )
        with Terminal("resume", "s", "--agent", "scripted_agents:kept_rest") as terminal:
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("y\r")
            terminal.wait_for("bought 1 a")
            assert terminal.end() == 0
        with Terminal("run", "x", "--agent", "scripted_agents:buys") as terminal:
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("yes\r")
            terminal.wait_for("bought 1 a")
            assert terminal.end() == 0

    def test_a_long_edit_is_made_in_the_users_editor(self) -> None:
        editor = Path("editor")
        editor.write_text(
            f"#!{sys.executable}\nimport sys\nopen(sys.argv[1], 'w').write('{{\"item\": \"c\"}}')\n"
        )
        editor.chmod(0o700)
        Path("long.py").write_text(
            "from scripted_agents import *\n"
            "agent = make(call('buy', item='x' * 1000 + '\\nline'), said)\n"
        )
        variables = {"VISUAL": str(editor.resolve())}
        with Terminal("chat", "--agent", "long:agent", variables=variables) as terminal:
            terminal.enter("hello")
            terminal.wait_for("│ line")
            terminal.wait_for("[y/n/e/a/?]")
            terminal.send("e\r")
            terminal.wait_for("bought 1 c")
            terminal.leave()


class TestInput:
    def test_a_pasted_text_is_one_message(self) -> None:
        with chat("echo") as terminal:
            terminal.wait_for("You       ")
            terminal.send("\x1b[200~one\ntwo\n\nthree\x1b[201~\r")
            terminal.wait_for("[one")
            assert terminal.wait_for("three]").split() == ["two"]
            terminal.leave()

    def test_a_backslash_goes_on_in_the_next_line(self) -> None:
        with chat("echo") as terminal:
            terminal.enter("one\\")
            terminal.wait_for("…  ")
            terminal.send("two\r")
            terminal.wait_for("[one")
            terminal.wait_for("two]")
            terminal.leave()

    def test_an_empty_line_is_nothing(self) -> None:
        with chat("echo") as terminal:
            terminal.enter("")
            terminal.enter("sent")
            terminal.wait_for("[sent]")
            terminal.leave()

    def test_tab_completes_commands_and_files(self) -> None:
        Path("notes.md").write_text("mine")
        with chat("echo") as terminal:
            terminal.wait_for("You       ")
            terminal.send("/us\t\r")
            terminal.wait_for("/usage")
            terminal.wait_for("there is no answer yet")
            terminal.enter("x")
            terminal.wait_for("[x]")
            terminal.wait_for("You       ")
            terminal.send("/save no\t\r")
            terminal.wait_for("/save notes.md")
            terminal.wait_for("notes.md is there already; to overwrite it: /save! notes.md")
            terminal.leave()
        assert Path("notes.md").read_text() == "mine"

    def test_the_arrow_keys_bring_back_what_earlier_chats_were_told(self) -> None:
        with chat("echo") as terminal:
            terminal.enter("remembered")
            terminal.wait_for("[remembered]")
            terminal.leave()
        file = Path("state/ling-agent/chat_history.jsonl")
        assert file.stat().st_mode & 0o777 == 0o600
        with chat("echo") as terminal:
            terminal.wait_for("You       ")
            terminal.send("\x1b[A\r")
            terminal.wait_for("[remembered]")
            terminal.leave()
        before = file.read_bytes()
        with chat("echo", "--no-history") as terminal:
            terminal.wait_for("You       ")
            terminal.send("\x1b[Aother\r")
            terminal.wait_for("[other]")
            terminal.leave()
        assert file.read_bytes() == before

    def test_without_a_place_for_the_history_it_says_so_once(self) -> None:
        Path("file").touch()
        variables = {"XDG_STATE_HOME": str(Path("file").resolve())}
        with chat("echo", variables=variables) as terminal:
            terminal.enter("one")
            terminal.wait_for("[one]")
            terminal.enter("two")
            terminal.wait_for("[two]")
            terminal.leave()
            assert terminal.text.count("is not kept") == 1


class TestScreen:
    @pytest.mark.parametrize("width", [12, 20, 40])
    def test_no_row_is_wider_than_a_narrow_terminal(self, width: int) -> None:
        with Terminal("run", "x", "--agent", "scripted_agents:looks", width=width) as terminal:
            assert terminal.end() == 0
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.raw)
        assert max(map(cell_len, re.split(r"[\r\n]+", shown))) <= width

    def test_no_color_has_no_colours(self) -> None:
        colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])(?:;\d+)*m")
        arguments = ["run", "x", "--agent", "scripted_agents:looks"]
        with Terminal(*arguments) as terminal:
            assert terminal.end() == 0
        assert colour.search(terminal.raw)
        with Terminal(*arguments, variables={"NO_COLOR": "1"}) as terminal:
            assert terminal.end() == 0
        assert not colour.search(terminal.raw)

    def test_a_dumb_terminal_gets_plain_lines(self) -> None:
        variables = {"TERM": "dumb"}
        arguments = ["run", "x", "--agent", "scripted_agents:looks"]
        with Terminal(*arguments, variables=variables) as terminal:
            assert terminal.end() == 0
        assert "\x1b" not in terminal.raw
        assert "Answer    It is here." in terminal.raw

    @pytest.mark.parametrize(
        ("variables", "euro"),
        [
            ({"LC_ALL": "C.UTF-8"}, "€"),
            ({"LC_ALL": "C"}, "€"),  # Python makes it UTF-8
            ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "?"),
        ],
    )
    def test_locales(self, variables: dict[str, str], euro: str) -> None:
        with chat("looks", variables=variables) as terminal:
            terminal.enter("x")
            terminal.wait_for("It is here.")
            terminal.enter("é €")
            terminal.wait_for(f"Once more: 1 {euro}.")
            terminal.leave()
