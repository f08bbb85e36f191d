"""The page at `/` in a real Chromium: it shows what the log says, also across cuts, and text as text."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.config import FORMATS
from tests.gateway.browser import PROGRAM, Browser, Page, browsing
from tests.gateway.fakes import Served, Stream, ended, served, until
from tests.gateway.relay import relayed
from tests.gateway.said import RECORDED, Message, chat_chunk, messages_of, translated

pytestmark = [
    pytest.mark.clients,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium; on Debian: apt-get install chromium"),
]

FILES = {file.stem: file for file in RECORDED}
TOKEN = "web-0123456789abcdef"
WORDS = translated([*(chat_chunk({"content": f"word{number} "}) for number in range(40)), chat_chunk({}, "stop")])
WHOLE = "".join(f"word{number} " for number in range(40)).strip()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with browser.page() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def gateway() -> AsyncIterator[Served]:
    async with served() as running:
        yield running


def text_of(kind: str) -> str:
    return f"[...document.querySelectorAll('.text.{kind}')].map((one) => one.textContent).join('')"


async def rows(page: Page) -> list[str]:
    found: list[str] = await page.run("[...document.querySelectorAll('#runs li')].map((row) => row.dataset.id)")
    return found


def call(name: str, arguments: str, call_id: str = "call_1") -> bytes:
    return chat_chunk({"tool_calls": [{"index": 0, "id": call_id, "function": {"name": name, "arguments": arguments}}]})


def returned(stream: Stream, text: str, status: str = "success", call_id: str = "call_1") -> Message:
    return {
        **stream.said[-1], "message_type": "tool_return_message", "tool_return": text, "status": status,
        "tool_call_id": call_id, "seq_id": len(stream.said) + 1,
    }  # fmt: skip


# --- the list -------------------------------------------------------------------------------------


async def test_runs_are_listed_filtered_paged_and_opened_from_the_keyboard(gateway: Served, page: Page):
    for number in range(120):
        stream = gateway.router.open(f"run-{number}", agent="ada", **({"team": "a"} if number % 2 else {}))
        if number > 100:
            stream.say(WORDS, end=True)
    await page.open(gateway.url)
    await page.until("document.querySelectorAll('#runs li').length == 50")
    assert (await rows(page))[0] == "run-119"
    await page.click("#older")
    await page.sees("run-69", "#runs")
    assert await page.text("#page") == "Page 2"
    await page.click("#newer")
    await page.sees("run-119", "#runs")

    await page.press("/")
    assert await page.run("document.activeElement.id") == "agent"
    await page.type("ada")
    await page.press("Tab")
    await page.type("team=a")
    await page.until(
        "document.querySelector('#runs li')?.dataset.id == 'run-119' && !document.getElementById('run-run-118')"
    )
    assert gateway.router.asked[-1]["tag"] == {"agent": "ada", "team": "a"}
    await page.press("Escape", "j", "j", "ArrowDown", "k", "Enter")
    await page.sees("word39", "#run")
    assert await page.run("location.hash") == "#/runs/run-117"
    chosen = "document.getElementById(document.querySelector('#runs').getAttribute('aria-activedescendant'))"
    assert await page.run(f"{chosen}.dataset.id + {chosen}.ariaSelected") == "run-117true"
    await page.press("Escape")
    await page.sees("Choose a run", "#run")
    assert await page.run("document.activeElement.id") == "runs"
    assert page.errors == []


async def test_the_list_is_kept_fresh(gateway: Served, page: Page):
    await page.open(gateway.url)
    await page.sees("There are no runs yet.")
    stream = gateway.router.open("run-1", agent="ada")
    await page.sees("open", "#runs")
    stream.say(ended(stream, "error"), end=True)
    await page.until("document.querySelector('#runs li')?.dataset.tone == 'failed'")
    await page.sees("error", "#runs")


async def test_a_run_is_started(gateway: Served, page: Page):
    gateway.runners.says = WORDS
    await page.open(gateway.url)
    await page.until("!document.querySelector('#new').hidden")
    await page.press("n")
    await page.until("document.querySelector('dialog textarea') === document.activeElement")
    await page.type("Hello <b>")
    await page.click("dialog .primary")
    await page.sees("word39", "#run")
    (order,) = gateway.runners.orders
    assert order.input == {"messages": [{"role": "user", "content": "Hello <b>"}]}


# --- one run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["anthropic-parallel-tools-2", "deepseek-responses-reasoning-1", "openai-tool-2"])
async def test_what_it_shows_is_what_the_log_says(gateway: Served, page: Page, name: str):
    messages = messages_of(FILES[name])
    gateway.router.open("run-1").say(messages, end=True)
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.until("document.querySelector('.part.end')")
    said: dict[str, str] = {"assistant": "", "reasoning": "", "arguments": ""}
    for one in messages:
        kind = one["message_type"].removesuffix("_message")
        if kind == "tool_call":
            said["arguments"] += one["tool_call"].get("arguments") or ""
        elif kind in said:
            said[kind] += one["content" if kind == "assistant" else "reasoning"]
    for kind, text in said.items():
        assert "".join((await page.run(text_of(kind))).split()) == "".join(text.split()), kind
    stop, usage = messages[-2:]
    assert await page.text(".part.end strong") == stop["stop_reason"]
    used = f"{usage['prompt_tokens']:,} in" if usage["total_tokens"] else "no token counts"
    assert used in await page.text(".part.end")
    assert await page.text(".chip") == stop["stop_reason"]


async def test_a_run_is_read_as_it_is_said_and_what_tools_return_stands_with_their_calls(gateway: Served, page: Page):
    stream = gateway.router.open("run-1", metadata={"user": "u-1"}, agent="ada", team="a")
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.sees("live", ".chip")
    await page.sees("team=a", ".tags")
    said = translated([chat_chunk({"reasoning_content": "Hm, "}), call("weather", '{"city": "Ro'), chat_chunk({})])[:-2]
    stream.say(said)
    await page.until(f'({text_of("arguments")}) == \'{{"city": "Ro\'')
    assert await page.run(text_of("reasoning")) == "Hm, "
    more = {**said[-1], "tool_call": {"tool_call_id": "call_1", "arguments": 'me"}'}, "seq_id": len(said) + 1}
    stream.say([more])
    await page.until(f'({text_of("arguments")}) == \'{{"city": "Rome"}}\'')
    assert await page.run("document.querySelector('.callbox').dataset.status ?? null") is None
    stream.say([returned(stream, "15 degrees")])
    await page.sees("15 degrees", ".callbox")
    assert await page.text(".callbox .state") == "returned"
    stream.say([returned(stream, "no such city", "error", "call_2")])
    await page.sees("no such city", ".part.return")
    stream.say(ended(stream, "error"), end=True)
    await page.sees("The run has ended: error.", "#status")
    assert await page.run("document.querySelector('.chip').dataset.tone") == "failed"
    assert await page.run("document.querySelectorAll('.part').length") == 4
    assert page.errors == []


async def test_a_cut_costs_nothing_each_message_is_there_once_and_one_end(gateway: Served, page: Page):
    stream = gateway.router.open("run-1")
    async with relayed(gateway.url) as relay:
        await page.open(f"{relay.url}/#/runs/run-1")
        for number in range(0, 36, 12):
            stream.say(WORDS[number : number + 12])
            await page.sees(f"word{number + 11} ".strip(), "#run")
            relay.cut()
            await page.sees("connecting again", ".chip")
            await page.sees("live", ".chip")
        relay.is_down = True
        relay.cut()
        await page.sees("The gateway does not answer", "#status")
        stream.say(WORDS[36:], end=True)
        relay.is_down = False
        await page.until("document.querySelector('.part.end')")
        assert (await page.run(text_of("assistant"))).strip() == WHOLE
        assert await page.run("document.querySelectorAll('.part').length") == 2
        assert stream.subscriptions >= 4


async def test_a_browsers_own_eventsource_goes_on_by_itself(gateway: Served, page: Page):
    # Without the page: what any other page has, too.
    stream = gateway.router.open("run-1")
    async with relayed(gateway.url) as relay:
        await page.open(relay.url)
        await page.sees("run-1", "#runs")
        await page.run("""(() => {
            window.had = []; window.ends = 0; window.errors = 0;
            window.source = new EventSource('v1/streams/run-1/events');
            source.onmessage = (event) => had.push(Number(event.lastEventId));
            source.addEventListener('end', () => ends++);
            source.onerror = () => errors++;
        })()""")
        stream.say(WORDS[:20])
        await page.until("had.length == 20")
        relay.cut()
        await page.until("errors == 1")
        stream.say(WORDS[20:], end=True)
        await page.until("source.readyState == 2")  # a 204 told it to stop
        assert await page.run("had") == [message["seq_id"] for message in WORDS]
        assert await page.run("ends") == 1


async def test_a_run_is_cancelled_and_only_after_a_question(gateway: Served, page: Page):
    stream = gateway.router.open("run-1")
    stream.say(WORDS[:3])
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.sees("word2", "#run")
    await page.press("c")
    await page.sees("Cancel this run?", "dialog")
    assert await page.run("document.activeElement.innerText") == "Let it go on"
    await page.press("Enter")
    await page.until("!document.querySelector('dialog')")
    assert not stream.has_ended
    await page.press("c")
    await page.click("dialog .danger")
    await page.sees("The run has ended: cancelled.", "#status")
    assert stream.has_ended
    assert await page.run("[...document.querySelectorAll('.actions button')].map((one) => one.hidden)") == [
        True, False, False
    ]  # fmt: skip


async def test_its_bytes_are_those_of_every_format(gateway: Served, page: Page):
    gateway.router.open("run-1", agent="ada").say(messages_of(FILES["openai-tool-2"]), end=True)
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.until("document.querySelector('.part.end')")
    await page.press("b")
    for name in FORMATS:
        await page.click(f"[data-format={name}]")
        await page.sees("the end", ".size")
        _, text = await gateway.text(f"/v1/streams/run-1/as/{name}")
        await page.until(f"document.querySelector('.bytes').textContent == {json.dumps(text)}")
    await page.press("b")
    assert await page.run("document.querySelector('.bytes')") is None


async def test_what_nobody_looks_at_any_more_is_not_read(gateway: Served, page: Page):
    stream = gateway.router.open("run-1")
    stream.say(WORDS[:3])
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.sees("word2", "#run")
    await page.press("b")
    await page.click("[data-format=chat]")
    await page.sees("word2", ".bytes")
    await until(lambda: stream.readers == 2)
    await page.press("b")
    await until(lambda: stream.readers == 1)
    await page.press("Escape")
    await until(lambda: stream.readers == 0)
    await page.press("Enter")
    await until(lambda: stream.readers == 1)
    await page.open(f"{gateway.url}/?elsewhere")  # the browser may keep the page for the way back
    await until(lambda: stream.readers == 0)


async def test_readers_are_shown_with_their_lag(gateway: Served, page: Page):
    stream = gateway.router.open("run-1")
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.sees("1 reader here · all up to date · its publisher is 7 messages ahead", ".readers")
    assert stream.readers == 1


async def test_a_run_is_replayed_at_the_pace_of_its_dates(gateway: Served, page: Page):
    dates = [f"2026-01-01T00:00:{second:02}+00:00" for second in (0, 0, 30)]
    texts = [message for message in WORDS if message["message_type"] == "assistant_message"][:3]
    said = [{**message, "date": date} for message, date in zip(texts, dates, strict=True)]
    stream = gateway.router.open("run-1")
    stream.say(said)
    stream.say([{**one, "date": dates[-1]} for one in ended(stream, "end_turn")], end=True)
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.sees("word2", "#run")
    await page.press("r")
    await page.sees("word1", "#run")
    assert "word2" not in await page.text("#run")
    await page.press(" ")
    assert await page.text(".play") == "Play"
    await page.press(*["ArrowRight"] * 7)
    await page.until("document.querySelector('.part.end')")
    assert await page.text(".replay .time") == "0:30 / 0:30"
    await page.press("r")
    assert (await page.run(text_of("assistant"))).split() == ["word0", "word1", "word2"]


async def test_a_run_of_twenty_thousand_messages_does_not_make_it_crawl(gateway: Served, page: Page):
    stream = gateway.router.open("run-1")
    first = WORDS[0]
    stream.say([{**first, "otid": str(at // 4), "content": f"w{at} ", "seq_id": at + 1} for at in range(20_000)])
    await page.open(gateway.url)
    await page.sees("run-1", "#runs")
    await page.run("""(() => {
        window.longest = 0; let last = performance.now();
        const look = (now) => { longest = Math.max(longest, now - last); last = now; requestAnimationFrame(look); };
        requestAnimationFrame(look);
        location.hash = '#/runs/run-1';
    })()""")
    await page.sees("w19999", "#run")
    assert await page.run("document.querySelectorAll('.part').length") <= 400
    assert await page.run("longest") < 3000, "a frame took too long"  # some 100 ms, where nothing else runs
    await page.run("document.querySelector('.scroll').focus()")
    await page.press("Home")
    await page.until("!document.querySelector('.toend').hidden && document.querySelector('.scroll').scrollTop == 0")
    await page.run("document.querySelector('.earlier').click()")
    await page.until("document.querySelectorAll('.part').length == 600")
    stream.say(ended(stream, "end_turn"), end=True)
    await page.sees("The run has ended: end_turn.", "#status")
    assert not await page.run("document.querySelector('.toend').hidden")  # it stays where its reader has gone
    await page.run("document.querySelector('.toend').click()")  # a pointer might miss it: what it covers moves
    is_seen = "document.querySelector('.part.end')?.getBoundingClientRect().bottom < innerHeight"
    await page.until(is_seen)
    await page.looks(height=500)
    await page.until(is_seen)
    middle = {"x": 700, "y": 300, "deltaX": 0, "deltaY": -300}
    await page.send("Input.dispatchMouseEvent", type="mouseWheel", **middle)
    await page.until("!document.querySelector('.toend').hidden")


async def test_a_run_that_is_not_there_is_said_to_be_so(gateway: Served, page: Page):
    await page.open(f"{gateway.url}/#/runs/none%2F1")
    await page.sees("not known", ".chip")
    await page.sees("'none/1'", ".facts")


# --- tokens ---------------------------------------------------------------------------------------


async def test_with_tokens_it_asks_for_one_and_renews_its_tickets(browser: Browser, tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"web {TOKEN} read\n")
    async with (
        served(tokens_file=str(tokens), ticket_s=0.5) as gateway,
        relayed(gateway.url) as relay,
        browser.page() as page,
    ):
        stream = gateway.router.open("run-1")
        stream.say(WORDS[:10])
        await page.open(f"{relay.url}/#/runs/run-1")
        await page.sees("This gateway wants a token.", "dialog")
        await page.type("none-of-this-gateway")
        await page.press("Enter")
        await page.sees("The gateway does not know this token.", "dialog")
        await page.type(TOKEN)
        await page.press("Enter")
        await page.sees("word9", "#run")
        assert await page.run("[localStorage.length, document.cookie, location.href.includes('token')]") == [
            0,
            "",
            False,
        ]
        assert await page.run("document.querySelector('.actions .danger').hidden")  # it may read only
        assert await page.run("document.querySelector('#new').hidden")

        old = (await gateway.json("POST", "/v1/streams/run-1/ticket", headers={"x-api-key": TOKEN}))[1]["events"]
        while (await gateway.json("GET", f"{old}&after=x"))[0] != 401:  # as soon as its own is too old, too
            pass
        stream.say(WORDS[10:20])
        relay.cut()
        await page.sees("word19", "#run")
        stream.say(WORDS[20:], end=True)
        await page.until("document.querySelector('.part.end')")
        assert (await page.run(text_of("assistant"))).strip() == WHOLE


# --- hostile text ---------------------------------------------------------------------------------

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"><svg onload=hacked=1>\u202e{{7*7}}'


async def test_what_a_run_says_is_text_and_never_markup(gateway: Served, page: Page):
    stream = gateway.router.open(f"run-{HOSTILE}", {HOSTILE: HOSTILE}, agent=HOSTILE, **{HOSTILE: HOSTILE})
    one = WORDS[0]
    call = {"name": HOSTILE, "arguments": HOSTILE, "tool_call_id": HOSTILE}
    returns = {"tool_return": HOSTILE, "status": HOSTILE, "tool_call_id": HOSTILE, "stdout": [HOSTILE]}
    counts = {"total_tokens": HOSTILE, "prompt_tokens": HOSTILE, "step_count": HOSTILE}
    kinds: list[dict[str, Any]] = [
        {"message_type": "user_message", "content": [{"type": "text", "text": HOSTILE}, {"type": HOSTILE}]},
        {"message_type": "system_message", "content": HOSTILE},
        {"message_type": "assistant_message", "content": HOSTILE},
        {"message_type": "reasoning_message", "reasoning": HOSTILE},
        {"message_type": "hidden_reasoning_message", "state": HOSTILE, "hidden_reasoning": None},
        {"message_type": "tool_call_message", "tool_call": call},
        {"message_type": "tool_return_message", **returns},
        {"message_type": "error_message", "error_type": HOSTILE, "message": HOSTILE, "detail": HOSTILE},
        {"message_type": HOSTILE, "content": HOSTILE},
        {"message_type": "__proto__", "content": HOSTILE},
        {"message_type": "stop_reason", "stop_reason": HOSTILE, "provider_reason": HOSTILE, "detail": HOSTILE},
        {"message_type": "usage_statistics", **counts},
    ]
    common = {key: one[key] for key in ("id", "date")}
    stream.say([{**common, **kind, "otid": HOSTILE, "seq_id": at} for at, kind in enumerate(kinds, 1)], end=True)
    await page.open(gateway.url)
    await page.until("document.querySelectorAll('#runs li').length == 1")
    await page.press("j", "Enter")
    await page.until("document.querySelector('.part.end')")
    await page.press("b", "r", "r")
    for name in FORMATS:
        await page.click(f"[data-format={name}]")
        await page.until("document.querySelector('.bytes').textContent.length > 50")
    assert (await page.text(".text.assistant")).startswith("<img src=x onerror=")
    assert await page.run("window.hacked ?? null") is None
    assert await page.run("document.querySelectorAll('main img, main script, main svg').length") == 0
    assert page.errors == []  # not even an attempt that the policy had to stop


async def test_the_policy_stops_what_would_run_all_the_same(gateway: Served, page: Page):
    await page.open(gateway.url)
    await page.until("document.querySelector('#none:not([hidden])')")
    for attempt in ("document.body.innerHTML = '<img src=x onerror=hacked=1>'", "eval('hacked=1')"):
        stopped = await page.run(f"(() => {{ try {{ {attempt} }} catch (error) {{ return error.name }} }})()")
        assert stopped in {"TypeError", "EvalError"}, attempt


# --- how it looks ---------------------------------------------------------------------------------

CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = ([red, green, blue]) =>
    0.2126 * linear(red / 255) + 0.7152 * linear(green / 255) + 0.0722 * linear(blue / 255);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const back = rgb(getComputedStyle(one).backgroundColor);
      if (back[3] > 250) return back;
    }
    return [255, 255, 255];
  };
  const bad = [];
  const seen = "h1, h2, strong, button, #runs span, .part span, .text, .facts, .chip, .tag, .used";
  for (const one of document.querySelectorAll(seen)) {
    if (!one.innerText?.trim() || one.disabled || !one.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([one.className || one.tagName, one.innerText.slice(0, 20), ratio]);
  }
  return bad;
})()"""  # of text and what lies behind it, as WCAG 2.1 reckons it; 4.5 is its level AA


@pytest.mark.parametrize("is_dark", [False, True])
async def test_light_and_dark_are_read_easily_and_narrow_screens_are_not_scrolled_sideways(
    gateway: Served, page: Page, *, is_dark: bool
):
    now = datetime.now(UTC)
    for number, reason in enumerate(["end_turn", "error", "cancelled", None]):
        stream = gateway.router.open(f"run-{number}-{'x' * 40}", agent="ada" * 9, team="a" * 60)
        stream.created_at = now - timedelta(days=number)
        stream.say(messages_of(FILES["anthropic-parallel-tools-2"])[:-2])
        stream.say([{**WORDS[0], "otid": "x", "content": "y" * 300, "seq_id": len(stream.said) + 1}])
        if reason:
            stream.say(ended(stream, reason), end=True)
    await page.looks(dark=is_dark)
    await page.open(gateway.url)
    await page.until("document.querySelectorAll('#runs li').length == 4")
    await page.press("j", "j", "Enter")
    await page.until("document.querySelector('.text.assistant')")
    back = await page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back.strip("rgb()").split(","))) < 200) is is_dark
    assert await page.run(CONTRAST) == []
    for width in (1280, 900, 360):
        await page.looks(dark=is_dark, width=width)
        for key in ("b", "b", "r", "r"):
            await page.press(key)
            assert await page.run("document.documentElement.scrollWidth") <= width, (width, key)
    assert await page.run("document.querySelector('#list').checkVisibility()") is False
    await page.click(".back")
    await page.until("document.querySelector('#list').checkVisibility()")
    assert await page.run("document.documentElement.scrollWidth") <= 360


async def test_every_control_has_a_name_and_the_focus_is_seen(gateway: Served, page: Page):
    gateway.router.open("run-1", agent="ada").say(WORDS[:5])
    await page.open(f"{gateway.url}/#/runs/run-1")
    await page.sees("word4", "#run")
    await page.press("b", "r")
    nameless = await page.run(
        "[...document.querySelectorAll('button, input, select, [tabindex=\"0\"]')].filter((one) => !one.hidden && "
        "!(one.innerText || one.ariaLabel)).map((one) => one.outerHTML)"
    )
    assert nameless == []
    await page.press("Tab", "Tab", "Tab")
    assert await page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.press("?")
    for text in ("follow the newest", "cancel the run", "replay"):
        await page.sees(text, "dialog")
    assert await page.run("document.querySelector('#status').getAttribute('aria-live')") == "polite"


async def test_a_gateway_that_comes_back_is_found_again(gateway: Served, page: Page):
    async with relayed(gateway.url) as relay:
        await page.open(relay.url)
        await page.sees("There are no runs yet.")
        relay.is_down = True
        relay.cut()
        await page.sees("The gateway does not answer", "#status")
        gateway.router.open("run-1")
        relay.is_down = False
        await page.sees("run-1", "#runs")
        assert await page.text("#status") == ""
