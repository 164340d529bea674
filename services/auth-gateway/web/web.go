// Package web answers: what does a person see? It holds every page as one typed struct and one template, the words in
// a catalogue, the stylesheet and the script, and knows nothing of requests: the gateway fills a struct, Render writes it.
//
// Every page is complete without JavaScript and holds no inline script or style, so that it works under
//
//	default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self';
//	connect-src 'self'; frame-ancestors 'none'; base-uri 'none'
package web

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

//go:embed templates/*.html
var templateFiles embed.FS

// site is everything parsed once at start: languages, and the templates of each. The files are part of the binary and
// under test, so that a fault in them is a fault of the build.
var site = func() (s struct {
	texts     map[string]catalogue
	templates map[string]map[string]*template.Template // language, page
},
) {
	var err error
	if s.texts, err = loadTexts(textFiles); err != nil {
		panic(err)
	}
	s.templates = map[string]map[string]*template.Template{}
	for lang, c := range s.texts {
		if s.templates[lang], err = parse(templateFiles, c); err != nil {
			panic(err)
		}
	}
	return s
}()

// textsOf is the catalogue of a language, or English.
func textsOf(lang string) catalogue {
	if c, ok := site.texts[lang]; ok {
		return c
	}
	return site.texts["en"]
}

// parse reads the layout and the parts, and beside them each page on its own.
func parse(fsys fs.FS, c catalogue) (map[string]*template.Template, error) {
	shared := []string{"templates/layout.html", "templates/parts.html", "templates/console-parts.html"}
	all, err := template.New("layout.html").Funcs(functions(c)).ParseFS(fsys, shared...)
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(fsys, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range names {
		if slices.Contains(shared, name) {
			continue
		}
		one, err := all.Clone()
		if err == nil {
			one, err = one.ParseFS(fsys, name)
		}
		if err != nil {
			return nil, err
		}
		pages[strings.TrimSuffix(path.Base(name), ".html")] = one
	}
	return pages, nil
}

// Render writes a page. It renders into memory first: on an error nothing has been written, so that the caller can
// still answer with an error page. The one other error is that of w.
func Render(w io.Writer, f Frame, p Page) error {
	if _, ok := site.templates[f.Lang]; !ok {
		f.Lang = "en"
	}
	t, ok := site.templates[f.Lang][p.page()]
	if !ok {
		return fmt.Errorf("web: no template for %s", p.page())
	}
	var page bytes.Buffer
	if err := t.ExecuteTemplate(&page, "layout.html", view{f, p}); err != nil {
		return fmt.Errorf("web: %s: %w", p.page(), err)
	}
	_, err := w.Write(page.Bytes())
	return err
}

// view is what a template sees: the frame's fields, and the page as .Page.
type view struct {
	Frame
	Page Page
}

// Kind is the class of the body: one card with one task, a person's home, the reference, or the console.
func (v view) Kind() string {
	switch v.Page.(type) {
	case ConsolePage:
		if v.User != nil && v.User.CanAdmin {
			return "console"
		}
	case Account:
		return "home"
	case Docs:
		return "docs"
	}
	return "gate"
}

// refusal is why a code was not taken and what that means, as the template "refusal" shows it.
type refusal struct {
	Error        Text
	AttemptsLeft int
	LockedUntil  time.Time
	Wait         time.Duration
	Offset       string // "7 minutes"
	OffsetText   Text
}

// Any says whether there is something to say.
func (r refusal) Any() bool { return r.Error != "" || r.Wait > 0 }

// refuse gathers what the pages with a code have in common. A lock says everything that an error would.
func (v view) refuse(c catalogue, e Text, left int, until time.Time, offset time.Duration) refusal {
	r := refusal{Error: e, AttemptsLeft: left, LockedUntil: until, Wait: max(0, until.Sub(v.Now))}
	if r.Wait > 0 {
		r.Error = ""
		return r
	}
	if offset != 0 && e != "" {
		r.OffsetText, r.Offset = clockAhead, c.span(offset.Abs(), math.Round)
		if offset < 0 {
			r.OffsetText = clockBehind
		}
		r.AttemptsLeft = 0 // the clock is the news
	}
	return r
}

// Again is when a password is taken again.
func (v view) Again(at time.Time) refusal { return v.refuse(nil, "", 0, at, 0) }

// Refusal finds the fields on the page.
func (v view) Refusal() refusal {
	c := textsOf(v.Lang)
	switch p := v.Page.(type) {
	case EnrollTOTP:
		return v.refuse(c, p.Error, p.AttemptsLeft, p.LockedUntil, p.ClockOffset)
	case Code:
		return v.refuse(c, p.Error, p.AttemptsLeft, p.LockedUntil, p.ClockOffset)
	case Recover:
		return v.refuse(c, p.Error, p.AttemptsLeft, p.LockedUntil, 0)
	case StepUp:
		return v.refuse(c, p.CodeError, p.AttemptsLeft, p.LockedUntil, p.ClockOffset)
	case Confirm:
		return v.refuse(c, p.StepUp.CodeError, p.StepUp.AttemptsLeft, p.StepUp.LockedUntil, p.StepUp.ClockOffset)
	case PersonForm:
		return v.refuse(c, p.StepUp.CodeError, p.StepUp.AttemptsLeft, p.StepUp.LockedUntil, p.StepUp.ClockOffset)
	case SettingsPreview:
		return v.refuse(c, p.StepUp.CodeError, p.StepUp.AttemptsLeft, p.StepUp.LockedUntil, p.StepUp.ClockOffset)
	case Account:
		return v.refuse(c, p.StepUp.CodeError, p.StepUp.AttemptsLeft, p.StepUp.LockedUntil, p.StepUp.ClockOffset)
	}
	return refusal{}
}

// LimitWait is how long until a limit may let the next text message through.
func (v view) LimitWait() time.Duration {
	var until time.Time
	switch p := v.Page.(type) {
	case Code:
		until = p.LimitUntil
	case EnrollPhone:
		until = p.LimitUntil
	}
	return max(0, until.Sub(v.Now))
}

// CodesFile is the recovery codes as a text file to download, within the page.
func (v view) CodesFile() (template.URL, error) {
	p, ok := v.Page.(RecoveryCodes)
	if !ok {
		return "", fmt.Errorf("no codes on %s", v.Page.page())
	}
	c := textsOf(v.Lang)
	head, err := c.must("codes.file_head", v.Brand.Name, p.Email, v.Now.UTC().Format(time.DateOnly))
	if err != nil {
		return "", err
	}
	file := head + "\r\n\r\n" + strings.Join(p.Codes, "\r\n") + "\r\n"
	return template.URL("data:text/plain;charset=utf-8," + url.PathEscape(file)), nil //nolint:gosec // escaped
}

// functions are what templates may call.
func functions(c catalogue) template.FuncMap {
	return template.FuncMap{
		"t":      c.must,
		"rich":   c.rich,
		"static": StaticPath,
		"brand":  BrandPath,
		"icon":   icon,
		"when":   c.when,
		"place":  c.place,
		"span":   func(d time.Duration) string { return c.span(d, math.Ceil) },
		"secs":   func(d time.Duration) int { return int(math.Ceil(d.Seconds())) },
		"png": func(b []byte) template.URL {
			return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b)) //nolint:gosec // base64 has nothing to escape
		},
		"app":    appLink,
		"groups": groups,
		"prose":  prose,
		"add":    func(a, b int) int { return a + b },
		"person": personLink,
		"entry": func(v view, r AuditRow) (e struct {
			View view
			Row  AuditRow
		},
		) {
			e.View, e.Row = v, r
			return e
		},
		"group": func(name string, c []Choice) (g struct {
			Name    string
			Choices []Choice
		},
		) {
			g.Name, g.Choices = name, c
			return g
		},
	}
}

// when is a moment in UTC, which the script turns into local time: format "time", "date" or "both".
func (c catalogue) when(t time.Time, format string) template.HTML {
	t = t.UTC()
	months := strings.Fields(c["time.months"].Other)
	date := fmt.Sprintf("%d %s %d", t.Day(), months[t.Month()-1], t.Year())
	clock := t.Format("15:04") + " UTC"
	words := map[string]string{"time": clock, "date": date, "both": date + ", " + clock}[format]
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-local="%s">%s</time>`, t.Format(time.RFC3339), format, words)) //nolint:gosec // all ours
}

// place is the name of a country of ISO 3166-1 in the language of the catalogue; anything else stays as it is.
func (c catalogue) place(code string) string {
	region, err := language.ParseRegion(code)
	if err != nil || len(code) != 2 {
		return code
	}
	if name := display.Regions(language.Make(c["language.tag"].Other)).Name(region); name != "" {
		return name
	}
	return code
}

// span is a duration in the largest unit that still says something.
func (c catalogue) span(d time.Duration, round func(float64) float64) string {
	unit, words := time.Second, seconds
	switch {
	case d >= 48*time.Hour:
		unit, words = 24*time.Hour, days
	case d >= 2*time.Hour:
		unit, words = time.Hour, hours
	case d >= 2*time.Minute:
		unit, words = time.Minute, minutes
	}
	n := max(1, int(round(float64(d)/float64(unit))))
	s, _ := c.must(words, n)
	return s
}

// appLink lets an otpauth link through, and nothing else.
func appLink(uri string) template.URL {
	if u, err := url.Parse(uri); err != nil || u.Scheme != "otpauth" {
		return ""
	}
	return template.URL(uri) //nolint:gosec // the scheme is checked; the template escapes the rest
}

// groups is a key in groups of four, however it was grouped before.
func groups(key string) string {
	key = strings.Join(strings.Fields(key), "")
	var b strings.Builder
	for i, r := range key {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Letters are the initials on the tile and the icon.
func (b Brand) Letters() string {
	if b.Initial != "" {
		return b.Initial
	}
	return firstLetter(strings.TrimSpace(b.Name))
}

func firstLetter(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError {
		return "·"
	}
	return string(unicode.ToUpper(r))
}

// icon is the tile as the tab's icon.
func icon(b Brand) template.URL {
	p := shades(b.Accent).light
	svg := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="%s"/>`+
		`<text x="16" y="22" text-anchor="middle" font-family="system-ui,sans-serif" font-weight="700" font-size="17" fill="%s">%s</text></svg>`,
		p.accent, p.ink, template.HTMLEscapeString(b.Letters()))
	return template.URL("data:image/svg+xml," + url.PathEscape(svg)) //nolint:gosec // escaped twice
}

// prose is plain text from a specification: paragraphs at empty lines, `code` in backticks.
func prose(s string) template.HTML {
	var b strings.Builder
	for _, p := range strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			b.WriteString("<p>" + markup(markup(template.HTMLEscapeString(p), "**", "b"), "`", "code") + "</p>")
		}
	}
	return template.HTML(b.String()) //nolint:gosec // escaped
}
