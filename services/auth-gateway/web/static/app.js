// Comfort for pages that are complete without it. No words live here: they come with the page, in data attributes.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const all = (selector, each) => document.querySelectorAll(selector).forEach(each);
  const say = (element, words) => { if (element.textContent !== words) element.textContent = words; };

  // Times come in UTC and are shown as the reader's own.
  const formats = {
    time: { hour: "numeric", minute: "2-digit" },
    date: { day: "numeric", month: "short", year: "numeric" },
    both: { day: "numeric", month: "short", year: "numeric", hour: "numeric", minute: "2-digit" },
  };
  all("time[data-local]", (time) => say(time, new Date(time.dateTime).toLocaleString(undefined, formats[time.dataset.local])));

  // What may be pressed, and how often. A form goes out once; coming back to the page, or 8 s of silence, frees it.
  const buttons = (form) => [...form.elements].filter((e) => e.type === "submit");
  const free = (form) => {
    delete form.dataset.busy;
    buttons(form).forEach((b) => { b.disabled = Boolean(b.dataset.held); b.removeAttribute("aria-busy"); });
  };
  const hold = (button, held) => {
    if (held) button.dataset.held = "1"; else delete button.dataset.held;
    button.disabled = held;
  };
  const complain = (input, words) => {
    say(document.getElementById(input.id + "-error"), words);
    if (words) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
  };
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const missing = event.submitter?.formNoValidate ? [] : [...form.elements].filter((e) => e.dataset.missing && !e.value.trim());
    missing.forEach((e) => complain(e, e.dataset.missing));
    if (missing.length > 0 || form.dataset.busy) {
      event.preventDefault();
      missing[0]?.focus();
      return;
    }
    form.dataset.busy = "1";
    setTimeout(() => buttons(form).forEach((b) => { b.disabled = true; b.setAttribute("aria-busy", "true"); })); // after the form was read
    setTimeout(() => free(form), 8000);
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    all("form", free);
    all("input.code, input[type=password]", (input) => { input.value = ""; });
  });
  document.addEventListener("input", ({ target }) => {
    if (target.dataset.missing && target.value && target.getAttribute("aria-invalid") && !target.closest("[data-locked]")) complain(target, "");
  });

  // Countdowns. They count from when the page came, so that the clock of this computer does not matter.
  const countdown = (seconds, each) => {
    const end = performance.now() + seconds * 1000;
    const tick = () => {
      const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
      if (each(left) !== false && left > 0) setTimeout(tick, 250);
    };
    tick();
  };
  const span = (left) => {
    const [n, unit] = left < 120 ? [left, "second"] : left < 7200 ? [Math.ceil(left / 60), "minute"] : [Math.ceil(left / 3600), "hour"];
    return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" }).format(n);
  };
  all("[data-countdown]", (element) => countdown(Number(element.dataset.countdown), (left) => {
    if (left > 0) say(element, span(left)); else element.closest(".wait")?.remove();
  }));
  all("form[data-locked]", (form) => countdown(Number(form.dataset.locked), (left) => {
    buttons(form).forEach((b) => hold(b, left > 0));
    if (left > 0) return;
    delete form.dataset.locked;
    const code = form.querySelector("[data-missing][aria-invalid]");
    if (!code) return;
    const slot = document.getElementById(code.id + "-error");
    slot.style.minHeight = slot.offsetHeight + "px"; // nothing below it moves
    complain(code, "");
    code.focus();
  }));

  // Resend, from when the server allows it.
  const resend = $("[data-resend]");
  let waiting = 0; // the countdown that counts: a newer one replaces it
  const waitToResend = (seconds, failed) => {
    const mine = ++waiting;
    countdown(seconds, (left) => {
      if (mine !== waiting) return false;
      hold(resend, left > 0);
      say(resend, left > 0 ? resend.dataset.wait.replace("{0}", left) : (failed && resend.dataset.failed) || resend.dataset.again);
    });
  };
  const delivery = $("#delivery");

  // Other ways, when the text has not come. Their place is kept, so that nothing moves; where all can be seen, it is said.
  const ways = $("#ways");
  const offer = () => {
    if (!ways?.dataset.offer) return;
    delete ways.dataset.offer;
    const said = $("#ways-said");
    say(said, said.dataset.said);
  };
  if (ways?.dataset.offer) countdown(Number(ways.dataset.offer), (left) => { if (left === 0) offer(); });
  if (resend) waitToResend(Number(resend.dataset.resend), delivery?.dataset.state === "failed");

  // How far the text message has come.
  const waits = () => delivery.dataset.state === "queued" || delivery.dataset.state === "paused";
  const ask = async () => {
    try {
      const reply = await fetch(delivery.dataset.status, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (reply.ok) {
        const status = await reply.json();
        if (status.expired) return location.assign(delivery.dataset.expired);
        if (status.offer) offer();
        const state = status.paused ? "paused" : status.delivery;
        if (state && state !== delivery.dataset.state) {
          const [title, text] = (delivery.dataset[state] ?? "|").split("|");
          const unsent = state === "failed" || state === "paused";
          delivery.dataset.state = state;
          $("#lead-sent").hidden = unsent;
          $("#lead-failed").hidden = !unsent;
          say(delivery.querySelector("b"), title);
          say(delivery.querySelector("span"), status.delivery_text || text);
          if (resend) waitToResend(status.resend_in ?? 0, state === "failed");
        }
      }
    } catch { /* no network for a moment: ask again */ }
    if (waits()) setTimeout(ask, 1500);
  };
  if (delivery && waits()) setTimeout(ask, 1500);

  // A complete code goes by itself, once: not the same one twice, and after an error only one that a person typed or pasted.
  const code = $("input[data-autosubmit]");
  if (code) {
    let last = "";
    const refused = code.hasAttribute("aria-invalid");
    code.addEventListener("paste", (event) => {
      const found = event.clipboardData.getData("text").match(/(?:^|\D)(\d{3}[ -]?\d{3})(?!\d)/);
      if (!found) return;
      event.preventDefault();
      code.value = found[1];
      code.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertFromPaste" }));
    });
    code.addEventListener("input", (event) => {
      const digits = code.value.replace(/[ -]/g, "");
      const byHand = (event.inputType ?? "").startsWith("insert") && event.inputType !== "insertReplacementText";
      if (!/^\d{6}$/.test(digits) || digits === last || (refused && !byHand)) return;
      if (buttons(code.form).some((b) => b.disabled)) return;
      last = digits;
      code.form.requestSubmit();
    });
  }

  // A form that only carries somebody on goes out by itself, when there is something to see meanwhile.
  addEventListener("load", () => $("form[data-go]")?.requestSubmit());

  // The row of places on a phone is longer than the phone: the present one is in sight.
  $(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // A colour is shown as it will look while it is chosen.
  all("[data-sample]", (input) => input.addEventListener("input", () => {
    $("#" + input.dataset.sample).src = "/admin/branding/sample.svg?accent=" + encodeURIComponent(input.value);
  }));

  // Where a phone's keyboard would hide what there is to see, only a reader with a mouse is taken to the field.
  if (matchMedia("(pointer: fine)").matches) $("[data-focus]")?.focus({ preventScroll: true });

  // Buttons that only a script can serve are hidden until it does.
  const serve = (selector, action) => all(selector, (button) => {
    button.hidden = false;
    button.addEventListener("click", () => action(button));
  });
  serve("[data-reveal]", (button) => {
    const input = document.getElementById(button.dataset.reveal);
    const shown = input.type === "text";
    button.dataset.show ??= button.textContent;
    input.type = shown ? "password" : "text";
    say(button, shown ? button.dataset.show : button.dataset.hide);
    input.focus();
  });
  serve("[data-print]", () => print());
  serve("[data-copy]", async (button) => {
    const what = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText([...what.children].map((item) => item.textContent.trim()).join("\n"));
      say(button, button.dataset.done);
    } catch { getSelection().selectAllChildren(what); } // a browser that does not let us: it is one key, or a finger, away
  });

  // A menu closes on Escape, and when the reader goes elsewhere.
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    all("details.menu[open], details.pop[open]", (menu) => { menu.open = false; menu.querySelector("summary").focus(); });
  });
  addEventListener("click", (event) => all("details.menu[open], details.pop[open]", (menu) => {
    if (!menu.contains(event.target)) menu.open = false;
  }));
})();
