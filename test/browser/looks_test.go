package browser

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
)

// lookAtPage checks what holds for every page. Each page is looked at once per visitor and state.
func (v *visitor) lookAtPage() {
	v.t.Helper()
	about := ask[struct {
		Path    string `json:"path"`
		Title   string `json:"title"`
		Lang    string `json:"lang"`
		Heading string `json:"heading"`
		Served  []bool `json:"served"`
	}](v, `({
		path: location.pathname, title: document.title, lang: document.documentElement.lang,
		heading: document.querySelector("h1")?.innerText ?? "",
		served: [...document.querySelectorAll("[data-reveal], [data-print]")].map((e) => !e.hidden),
	})`)
	if v.seen[about.Path+about.Title+about.Heading] {
		return
	}
	v.seen[about.Path+about.Title+about.Heading] = true
	complain := func(format string, args ...any) {
		v.t.Helper()
		v.t.Errorf("page %s (%s): "+format, append([]any{about.Path, about.Title}, args...)...)
	}
	if about.Lang != "en" {
		complain("its language is %q", about.Lang)
	}
	topic := about.Heading
	if topic == "You are in" {
		topic = "Your account"
	}
	if title := strings.TrimPrefix(about.Title, "Error: "); title != topic+" – "+v.scene.portal {
		complain("its title does not name its heading %q and the portal", about.Heading)
	}
	// What only a script can serve is hidden until one does. That tells whether they really run.
	if slices.Contains(about.Served, !v.scene.scripts) {
		complain("scripts run: %v, want %v", about.Served, v.scene.scripts)
	}
	v.checkNames(complain)
	which := about.Path + " (" + about.Title + ", " + about.Heading + ")"
	judged := true // without JavaScript by its twin with it: axe needs scripts in the page's world
	if v.scene.scripts {
		_, judged = axed.LoadOrStore(which, true)
	}
	for _, s := range []size{small, phone, desktop} {
		v.resize(s)
		if over := ask[int](v, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			complain("at %d px it scrolls sideways, by %d px", s.width, over)
		}
		if s != small && !judged {
			v.axe(which)
		}
	}
}

// named are the roles that mean nothing to a screen reader without a name.
var named = []string{"textbox", "button", "link", "image", "DisclosureTriangle", "heading", "checkbox", "radio", "combobox", "searchbox", "navigation", "RootWebArea"}

func (v *visitor) checkNames(complain func(string, ...any)) {
	var levels []int
	var landmarks int
	names := map[string]int{}
	for _, c := range v.controls() {
		if c.name == "" && slices.Contains(named, c.role) {
			complain("a %s has no name", c.role)
		}
		switch c.role {
		case "heading":
			levels = append(levels, c.level)
		case "main":
			landmarks++
		case "textbox":
			names[c.name]++
		}
	}
	if landmarks != 1 {
		complain("it has %d main landmarks", landmarks)
	}
	for name, n := range names {
		if n > 1 {
			complain("%d fields are named %q", n, name)
		}
	}
	if len(levels) == 0 || levels[0] != 1 {
		complain("its first heading is not an h1: %v", levels)
		return
	}
	for i, level := range levels[1:] {
		if level == 1 || level > levels[i]+1 {
			complain("its headings are not in order: %v", levels)
			return
		}
	}
}

// hasFocusOn checks where the keyboard is.
func (v *visitor) hasFocusOn(name string) {
	v.t.Helper()
	v.await("the focus on "+name, func() bool { return v.focus().name == name })
}

// focusShows checks that a person sees which control has the keyboard.
func (v *visitor) focusShows() {
	v.t.Helper()
	ring := ask[string](v, `(() => {
		const style = getComputedStyle(document.activeElement);
		return document.activeElement.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 ? "" : style.outline;
	})()`)
	if ring != "" {
		v.t.Errorf("the focus on %q cannot be seen: outline %s", v.focus().name, ring)
	}
}

// pictures is where the pictures of pages go.
var pictures = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", os.ErrNotExist
		}
		dir = parent
	}
	dir = filepath.Join(dir, ".artifacts", "screenshots")
	return dir, os.MkdirAll(dir, 0o755)
})

// takePictures is what `make pictures` sets: nobody looks at those of every run.
var takePictures = flag.Bool("pictures", false, "take pictures of the pages, into .artifacts/screenshots")

// picture takes the page as it is, on a phone and on a desktop, light and dark.
func (v *visitor) picture(name string) {
	v.t.Helper()
	if !v.scene.scripts || v.scene.keyboard {
		return // they look the same; what differs has a name of its own
	}
	v.pictureOf(name)
}

func (v *visitor) pictureOf(name string) {
	v.t.Helper()
	if !*takePictures {
		return
	}
	dir, err := pictures()
	if err != nil {
		v.t.Fatalf("no place for screenshots: %v", err)
	}
	for _, s := range []size{phone, desktop} {
		v.resize(s)
		for _, scheme := range []string{"light", "dark"} {
			v.media("", scheme)
			width := "1280"
			if s.touch {
				width = "360"
			}
			v.capture(filepath.Join(dir, name+"-"+width+"-"+scheme+".png"))
		}
	}
	v.media("", "")
	v.resize(desktop)
}

// media pretends a medium (print, or "" for the screen) and a colour scheme.
func (v *visitor) media(medium, scheme string) {
	v.t.Helper()
	params := emulation.SetEmulatedMediaParams{Media: medium}
	if scheme != "" {
		params.Features = []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	}
	call(v, emulation.SetEmulatedMedia, params)
}

// capture writes the whole page as a picture.
func (v *visitor) capture(file string) {
	v.t.Helper()
	whole, fast := true, true
	box := call(v, page.GetLayoutMetrics, cdp.Empty{}).CSSContentSize
	shot := call(v, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: &whole, OptimizeForSpeed: &fast,
		Clip: &page.Viewport{Width: float64(v.size.width), Height: max(box.Height, float64(v.size.height)), Scale: 1},
	})
	if err := os.WriteFile(file, shot.Data, 0o644); err != nil {
		v.t.Fatal(err)
	}
}
