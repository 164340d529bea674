package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sallyport/test/sut"
)

// browserPatience is how long anything of a browser may take on a busy machine.
const browserPatience = 60 * time.Second

// browser is Chromium with one tab, of somebody who is attacked.
type browser struct {
	t   *testing.T
	tab context.Context // of chromedp

	mu     sync.Mutex
	loads  int
	logged []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), sut.Chromium(t)...)
	t.Cleanup(cancel)
	b := &browser{t: t}
	b.tab, _ = chromedp.NewContext(allocator, chromedp.WithListener(b.event)) // ends with the allocator at the latest
	if err := chromedp.Do(b.tab); err != nil {
		t.Fatalf("the browser does not start: %v", err)
	}
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(b.tab, browserPatience)
		defer cancel()
		if err := chromedp.Cancel(end); err != nil { // waits for its end
			t.Logf("the browser did not end in order: %v", err)
		}
	})
	tell(b, log.Enable, cdp.Empty{})
	tell(b, network.Enable, network.EnableParams{})
	return b
}

// event takes in what the browser tells, on the goroutine that reads it.
func (b *browser) event(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *page.EventLoadEventFired:
		b.loads++
	case *log.EventEntryAdded:
		b.logged = append(b.logged, ev.Entry.Text)
	case *runtime.EventConsoleAPICalled:
		for _, a := range ev.Args {
			b.logged = append(b.logged, string(a.Value))
		}
	}
}

// lines counts what the browser has logged with all of some words.
func (b *browser) lines(words ...string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, l := range b.logged {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(l, w) }) {
			n++
		}
	}
	return n
}

// tell sends one command to the tab.
func tell[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, browserPatience)
	defer cancel()
	r, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return r
}

// goTo opens an address.
func (b *browser) goTo(address string) {
	b.t.Helper()
	b.mu.Lock()
	before := b.loads
	b.mu.Unlock()
	if r := tell(b, page.Navigate, page.NavigateParams{URL: address}); r.ErrorText != "" && r.ErrorText != "net::ERR_HTTP_RESPONSE_CODE_FAILURE" {
		b.t.Fatalf("%s: %s", address, r.ErrorText)
	}
	b.until("the page at "+address, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.loads > before
	})
}

// goToLair opens a page of an attacker, and waits until its script is there: the load that was heard of may be another's.
func (b *browser) goToLair(address string) {
	b.t.Helper()
	b.goTo(address)
	b.until("the script at "+address, func() bool {
		ctx, cancel := context.WithTimeout(b.tab, browserPatience)
		defer cancel()
		there, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(`typeof frame === "function" && location.href.startsWith(%q)`, address)))
		return err == nil && there // between two pages there is nobody to ask
	})
}

// evaluate runs an expression on the page, waits for what it promises, and returns that.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.tab, browserPatience)
	defer cancel()
	r, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, func(p *runtime.EvaluateParams) { p.AwaitPromise = new(true) }))
	if err != nil {
		b.t.Fatalf("%.200s: %v", expression, err)
	}
	return r
}

// until polls until ok, or fails the test.
func (b *browser) until(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.NewTimer(browserPatience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			b.t.Fatalf("did not happen: %s", what)
		case <-tick.C:
		}
	}
}
