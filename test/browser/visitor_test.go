package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sallyport/test/sut"
)

// patience is how long a visitor waits for anything. A page comes within a fraction of a second; the rest is for a
// machine that is busy with other tests.
const patience = 60 * time.Second

// visitor is a person at a computer of their own, with one tab open. Its methods fail the test with what the person
// could not do.
type visitor struct {
	scene *scene
	t     testing.TB
	tab   context.Context // of chromedp
	watch *watch
	seen  map[string]bool // pages that were looked at
	size  size
}

// size is what a page is shown on.
type size struct {
	width, height int64
	touch         bool
}

var (
	desktop = size{1280, 800, false}
	phone   = size{360, 740, true}
	small   = size{320, 640, true}
)

// visitor opens a browser with nothing in it, as somebody who comes for the first time.
func (s *scene) visitor() *visitor {
	s.t.Helper()
	return s.open(s.browser, chromedp.WithNewBrowserContext())
}

// secondTab opens another tab in the same browser.
func (v *visitor) secondTab() *visitor { v.t.Helper(); return v.scene.open(v.tab) }

func (s *scene) open(parent context.Context, options ...chromedp.ContextOption) *visitor {
	s.t.Helper()
	v := &visitor{scene: s, t: s.t, watch: &watch{origin: s.Base, shifts: map[string]float64{}}, seen: map[string]bool{}}
	tab, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(v.watch.event))...)
	v.tab = tab
	s.t.Cleanup(func() {
		for _, fault := range v.watch.report() {
			s.t.Errorf("a page did what none may do: %s", fault)
		}
		cancel()
	})
	// The first call opens the tab, which then lives as long as the context of that call.
	if err := chromedp.Do(tab); err != nil {
		s.t.Fatalf("no tab: %v", err)
	}
	call(v, audits.Enable, cdp.Empty{})
	call(v, network.Enable, network.EnableParams{})
	call(v, accessibility.Enable, cdp.Empty{})
	// Two tabs cannot both be in front; each behaves as if it were.
	call(v, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	call(v, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "America/New_York"})
	call(v, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: "en-US"})
	call(v, runtime.AddBinding, runtime.AddBindingParams{Name: shiftBinding})
	call(v, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: shiftReport})
	call(v, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !s.scripts})
	v.resize(desktop)
	return v
}

// call sends one command to the visitor's tab.
func call[P, R any](v *visitor, command cdp.Command[P, R], params P) R {
	v.t.Helper()
	r, err := try(v, command, params)
	if err != nil {
		v.t.Fatalf("%s: %v", command.Method, err)
	}
	return r
}

func try[P, R any](v *visitor, command cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(v.tab, patience)
	defer cancel()
	return chromedp.Call(ctx, command, params)
}

// ask evaluates an expression for the test; pages without JavaScript allow that, too.
func ask[T any](v *visitor, expression string) T {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.tab, patience)
	defer cancel()
	r, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	for err != nil && strings.Contains(err.Error(), "navigated or closed") && ctx.Err() == nil {
		r, err = chromedp.Run(ctx, chromedp.Evaluate[T](expression)) // the page that was asked has gone: the next one answers
	}
	if err != nil {
		v.t.Fatalf("%s\n%s: %v", v.where(), expression, err)
	}
	return r
}

// await polls until ok, or fails the test with what was awaited and what there was instead.
func (v *visitor) await(what string, ok func() bool) {
	v.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			v.t.Fatalf("waited %v for %s\n%s", patience, what, v.where())
		case <-tick.C:
		}
	}
}

// where describes what the visitor has before them, for a failure.
func (v *visitor) where() string {
	ctx, cancel := context.WithTimeout(v.tab, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.title + "\n" + document.body.innerText`))
	if err != nil {
		text = err.Error()
	}
	return "the page: " + text
}

// goTo types an address.
func (v *visitor) goTo(path string) {
	v.t.Helper()
	v.load("the page at "+path, func() {
		if r := call(v, page.Navigate, page.NavigateParams{URL: v.scene.Base + path}); r.ErrorText != "" && r.ErrorText != "net::ERR_HTTP_RESPONSE_CODE_FAILURE" {
			v.t.Fatalf("%s: %s", path, r.ErrorText)
		}
	})
}

// load waits for the page that an act leads to, and looks at it.
func (v *visitor) load(what string, act func()) {
	v.t.Helper()
	before := v.watch.loaded()
	act()
	v.await(what, func() bool { return v.watch.loaded() > before })
	v.lookAtPage()
}

// control is something with a role and a name on the page.
type control struct {
	role, name string
	node       cdp.BackendNodeID
	disabled   bool
	focused    bool
	level      int
}

// controls reads the page as a screen reader does, in order.
func (v *visitor) controls() []control {
	r, err := try(v, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		return nil // between two pages
	}
	nodes := make(map[accessibility.NodeID]*accessibility.Node, len(r.Nodes))
	for _, n := range r.Nodes {
		nodes[n.NodeID] = n
	}
	var out []control
	var visit func(n *accessibility.Node)
	visit = func(n *accessibility.Node) {
		if !n.Ignored {
			out = append(out, controlOf(n))
		}
		for _, id := range n.ChildIDs {
			if child := nodes[id]; child != nil {
				visit(child)
			}
		}
	}
	if len(r.Nodes) > 0 {
		visit(r.Nodes[0])
	}
	return out
}

func controlOf(n *accessibility.Node) control {
	c := control{role: text(n.Role), name: text(n.Name), node: n.BackendDOMNodeID}
	for _, p := range n.Properties {
		switch p.Name { //nolint:exhaustive // the others are not needed
		case accessibility.PropertyNameDisabled:
			c.disabled = text(p.Value) == "true"
		case accessibility.PropertyNameFocused:
			c.focused = text(p.Value) == "true"
		case accessibility.PropertyNameLevel:
			c.level, _ = strconv.Atoi(text(p.Value)) // 0 is no level
		}
	}
	return c
}

func text(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var s string
	if json.Unmarshal(v.Value, &s) != nil {
		s = string(v.Value)
	}
	return strings.Join(strings.Fields(s), " ")
}

var pressable = []string{"button", "link", "DisclosureTriangle"}

// find waits for a control that can be used: with one of the roles, and exactly this name.
func (v *visitor) find(name string, roles ...string) control {
	v.t.Helper()
	var found control
	v.await(fmt.Sprintf("%s %q", strings.Join(roles, " or "), name), func() bool {
		for _, c := range v.controls() {
			if c.name == name && slices.Contains(roles, c.role) && !c.disabled {
				found = c
				return true
			}
		}
		return false
	})
	return found
}

// sees tells whether a control is there now, usable or not.
func (v *visitor) sees(name string, roles ...string) bool {
	return slices.ContainsFunc(v.controls(), func(c control) bool { return c.name == name && slices.Contains(roles, c.role) })
}

// click presses what has this name, where that leads to no other page.
func (v *visitor) click(name string) {
	v.t.Helper()
	v.clickOn(v.find(name, pressable...))
}

// press presses what has this name, and waits for the page that it leads to.
func (v *visitor) press(name string) {
	v.t.Helper()
	c := v.find(name, pressable...)
	v.load(fmt.Sprintf("the page behind %q", name), func() { v.clickOn(c) })
}

// fill types into the field with this label, in place of what was there.
func (v *visitor) fill(label, words string) {
	v.t.Helper()
	v.clickOn(v.find(label, "textbox", "searchbox"))
	v.selectAll()
	if v.scene.keyboard || words == "" {
		v.keys(words)
		return
	}
	call(v, input.InsertText, input.InsertTextParams{Text: words}) // as a password manager does, and who pastes
}

func (v *visitor) selectAll() {
	v.t.Helper()
	v.command("a", "selectAll")
}

// command presses Ctrl and a letter, which means what the browser's editor calls by a name.
func (v *visitor) command(letter, name string) {
	v.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
		p := input.DispatchKeyEventParams{Type: kind, Modifiers: int64(chromedp.ModifierCtrl), Key: letter, Code: "Key" + strings.ToUpper(letter), WindowsVirtualKeyCode: int64(strings.ToUpper(letter)[0])}
		if kind == input.DispatchKeyEventTypeRawKeyDown {
			p.Commands = []string{name}
		}
		call(v, input.DispatchKeyEvent, p)
	}
}

// keys presses keys, wherever the focus is.
func (v *visitor) keys(keys string, options ...chromedp.KeyOption) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.tab, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.KeyEvent(keys, options...)); err != nil {
		v.t.Fatalf("keys: %v", err)
	}
}

// reads waits until all these words stand on the page, as a person sees them.
func (v *visitor) reads(words ...string) {
	v.t.Helper()
	for _, w := range words {
		v.await(fmt.Sprintf("the words %q", w), func() bool { return strings.Contains(v.text(), w) })
	}
}

// readsNot checks that words do not stand on the page.
func (v *visitor) readsNot(words ...string) {
	v.t.Helper()
	for _, w := range words {
		if strings.Contains(v.text(), w) {
			v.t.Fatalf("the page says %q and must not\n%s", w, v.where())
		}
	}
}

// text is what a person can read on the page, in one line.
func (v *visitor) text() string {
	ctx, cancel := context.WithTimeout(v.tab, patience)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return "" // between two pages
	}
	return strings.Join(strings.Fields(s), " ")
}

// isAt checks the address of the page that has loaded.
func (v *visitor) isAt(path string) {
	v.t.Helper()
	if at := ask[string](v, `location.pathname + location.search`); at != path {
		v.t.Fatalf("the page is at %s, want %s\n%s", at, path, v.where())
	}
}

// onPage waits for a page by its heading.
func (v *visitor) onPage(heading string) {
	v.t.Helper()
	v.await(fmt.Sprintf("the page %q", heading), func() bool { return v.sees(heading, "heading") })
}

// focus is the control that has the keyboard.
func (v *visitor) focus() control {
	v.t.Helper()
	for _, c := range slices.Backward(v.controls()) {
		if c.focused && c.role != "RootWebArea" {
			return c
		}
	}
	return control{}
}

// resize shows the page on another screen.
func (v *visitor) resize(s size) {
	v.t.Helper()
	if v.size == s {
		return
	}
	touch := v.size.touch
	v.size = s
	scale := 1.0
	if s.touch {
		scale = 2
	}
	call(v, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: s.height, DeviceScaleFactor: scale, Mobile: s.touch})
	if s.touch != touch {
		call(v, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: s.touch})
	}
}

// signIn goes to the sign-in page, or wherever path leads, and gives e-mail address and password.
func (v *visitor) signIn(path, email string) {
	v.t.Helper()
	v.goTo(path)
	v.giveCredentials(email, sut.DemoPassword)
}

func (v *visitor) giveCredentials(email, password string) {
	v.t.Helper()
	v.onPage("Sign in")
	v.fill("Email", email)
	v.fill("Password", password)
	v.press("Sign in")
}

func (v *visitor) clearCookies() {
	v.t.Helper()
	call(v, network.ClearBrowserCookies, cdp.Empty{})
}
