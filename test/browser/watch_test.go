package browser

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

// mostShift is how much a page may move by itself: a fifth of what is called good (web.dev/cls).
const mostShift = 0.02

// watch sees everything that a tab does, and notes what no page of ours may do.
type watch struct {
	origin string
	portal string // another origin that people come from and go back to, where there is one

	mu     sync.Mutex
	loads  int                // pages loaded so far
	posts  []string           // paths of the forms that were sent
	shifts map[string]float64 // layout shift, by page load
	faults []string
}

// event takes in what the browser tells, on the goroutine that reads it.
func (w *watch) event(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch ev := ev.(type) {
	case *page.EventLoadEventFired:
		w.loads++
	case *network.EventRequestWillBeSent:
		w.request(ev)
	case *network.EventResponseReceived:
		if ev.Response.Status >= 500 {
			w.fault("%s answers %d", ev.Response.URL, ev.Response.Status)
		}
	case *log.EventEntryAdded:
		// Whoever has pressed a key already is where they want to be, and the browser does not take them elsewhere.
		faster := strings.HasPrefix(ev.Entry.Text, "Autofocus processing was blocked because a document already has a focused element")
		// Of a page that says "not found" or "wrong code" by its status, too, the browser logs that status.
		refused := ev.Entry.Source == log.EntrySourceNetwork && strings.HasPrefix(ev.Entry.Text, "Failed to load resource: the server responded with a status of 4")
		if !refused && !faster {
			w.fault("log: %s: %s %s", ev.Entry.Level, ev.Entry.Text, ev.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		w.fault("console.%s was called", ev.Type)
	case *runtime.EventExceptionThrown:
		w.fault("exception: %s", ev.ExceptionDetails.Text)
	case *audits.EventIssueAdded:
		detail, _ := json.Marshal(ev.Issue.Details) // for reading only
		w.fault("issue: %s %s", ev.Issue.Code, detail)
	case *runtime.EventBindingCalled:
		if ev.Name == shiftBinding {
			w.shift(ev.Payload)
		}
	}
}

func (w *watch) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *watch) request(ev *network.EventRequestWillBeSent) {
	u, err := url.Parse(ev.Request.URL)
	switch {
	case err != nil:
		w.fault("request to %s", ev.Request.URL)
		return
	case u.Scheme == "data": // goes nowhere
		return
	case w.portal != "" && u.Scheme+"://"+u.Host == w.portal:
	case u.Scheme+"://"+u.Host != w.origin:
		w.fault("request to another origin: %s", ev.Request.URL)
	}
	if ev.Request.Method == "POST" {
		w.posts = append(w.posts, u.Path)
	}
}

const (
	shiftBinding = "layoutShifted"
	// shiftReport tells how much the page moves without its reader having done anything.
	shiftReport = `(() => {
		const load = location.pathname + " at " + performance.timeOrigin;
		new PerformanceObserver((list) => list.getEntries().forEach((e) => {
			if (!e.hadRecentInput) layoutShifted(JSON.stringify({ load, value: e.value }));
		})).observe({ type: "layout-shift", buffered: true });
	})()`
)

func (w *watch) shift(payload string) {
	var s struct {
		Load  string  `json:"load"`
		Value float64 `json:"value"`
	}
	if err := json.Unmarshal([]byte(payload), &s); err != nil {
		w.fault("layout shift: %v", err)
		return
	}
	w.shifts[s.Load] += s.Value
}

// loaded is how many pages have loaded so far.
func (w *watch) loaded() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.loads
}

// sent counts the forms that were sent to a path.
func (w *watch) sent(path string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.posts {
		if p == path {
			n++
		}
	}
	return n
}

// report lists everything that no page may do.
func (w *watch) report() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	faults := append([]string{}, w.faults...)
	for load, sum := range w.shifts {
		if sum >= mostShift {
			faults = append(faults, fmt.Sprintf("%s moves by itself: layout shift %.3f, at most %.2f", load, sum, mostShift))
		}
	}
	return faults
}

// TestWatch shows that what no page may do is noticed.
func TestWatch(t *testing.T) {
	withScripts(t, func(s *scene) {
		v := s.visitor()
		v.goTo("/sign-in")
		ask[bool](v, `(() => {
			console.error("words");
			setTimeout(() => { throw new Error("lost"); });
			document.body.insertAdjacentHTML("beforeend", "<p style='color: red'>styled</p>");
			const wall = document.createElement("div");
			wall.textContent = "moves everything";
			document.body.prepend(wall);
			setInterval(() => { wall.style.height = wall.offsetHeight + 50 + "px"; }, 100);
		})() !== null`)
		v.reads("moves everything")
		notes := func(fault string) {
			t.Helper()
			v.await("the fault "+fault, func() bool {
				return slices.ContainsFunc(v.watch.report(), func(r string) bool { return strings.Contains(r, fault) })
			})
		}
		notes("console.error was called")
		notes("exception: ")
		notes("ContentSecurityPolicyIssue")
		notes("/sign-in at ")
		call(v, page.Navigate, page.NavigateParams{URL: "http://elsewhere.test/"}) // reaches nobody
		notes("request to another origin: http://elsewhere.test/")
		v.watch.mu.Lock()
		defer v.watch.mu.Unlock()
		v.watch.faults, v.watch.shifts = nil, nil
	})
}
