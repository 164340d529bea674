package browser

import (
	"context"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"

	"sallyport/test/sut"
)

func TestMain(m *testing.M) { sut.Main(m) }

// scene is an empty installation of the product, and a browser that visits it.
type scene struct {
	*sut.Product
	t       *testing.T
	browser context.Context // of chromedp
	scripts bool            // whether pages may run JavaScript
	// keyboard: the story is played without a mouse or a touch screen.
	keyboard bool
	// portal is the name that pages give the portal.
	portal string
}

// everyWay plays a story with JavaScript, without it, and by the keyboard alone, each from an empty installation. The
// three share a browser process, and the stories of a package take turns on the cores there are.
func everyWay(t *testing.T, story func(s *scene), options ...chromedp.ExecAllocatorOption) {
	t.Helper()
	play(t, story, map[string]scene{
		"with JavaScript": {scripts: true}, "without JavaScript": {}, "by keyboard": {scripts: true, keyboard: true},
	}, options...)
}

// bothWays plays a story with JavaScript and without it: one whose controls others have tried by the keyboard.
func bothWays(t *testing.T, story func(s *scene)) {
	t.Helper()
	play(t, story, map[string]scene{"with JavaScript": {scripts: true}, "without JavaScript": {}})
}

func play(t *testing.T, story func(s *scene), ways map[string]scene, options ...chromedp.ExecAllocatorOption) {
	t.Helper()
	t.Parallel()
	browser := startChromium(t, options...)
	for name, s := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.t, s.browser = t, browser
			story((&s).set())
		})
	}
}

// withScripts plays a story that is about JavaScript itself.
func withScripts(t *testing.T, story func(s *scene)) {
	t.Helper()
	t.Parallel()
	story((&scene{t: t, browser: startChromium(t), scripts: true}).set())
}

// set starts the product.
func (s *scene) set() *scene {
	s.t.Helper()
	s.Product, s.portal = sut.Start(s.t, sut.Options{Demo: true}), "Northwind Portal"
	return s
}

// startChromium runs a browser with a profile of its own until the test and its subtests have ended.
func startChromium(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	for _, tool := range []string{"oathtool", "zbarimg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing, which stands in for the phone: run scripts/setup, or install it by hand (Debian: oathtool, zbar-tools)", tool)
		}
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(sut.Chromium(t), more...)...)
	t.Cleanup(cancel)
	browser, _ := chromedp.NewContext(allocator) // ends with the allocator at the latest
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("the browser does not start: %v", err)
	}
	t.Cleanup(func() {
		end, cancel := context.WithTimeout(browser, patience)
		defer cancel()
		if err := chromedp.Cancel(end); err != nil { // waits for its end
			t.Logf("the browser did not end in order: %v", err)
		}
	})
	return browser
}

// withMouse is a browser on a computer with a mouse; without it, it has none, and no touch screen either.
var withMouse = chromedp.Flag("blink-settings", "primaryPointerType=4,availablePointerTypes=4,primaryHoverType=2,availableHoverTypes=2")
