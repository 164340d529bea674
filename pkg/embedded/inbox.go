package embedded

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"time"
)

var (
	//go:embed inbox.html
	inboxHTML string
	//go:embed inbox.css
	inboxStyle []byte

	inboxPage = template.Must(template.New("inbox").Parse(inboxHTML))
	sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)
)

// inboxData is what the page shows.
type inboxData struct {
	Messages []inboxMessage // newest first
	To       string         // the one recipient shown, or "" for all
	Fault    fault
	Modes    []string
	Now      time.Time // of the virtual clock; zero without one
}

// inboxMessage is a message with its code, if it has one, apart, so that one click selects it.
type inboxMessage struct {
	To, Before, Code, After string
	At                      time.Time
}

func (s *SNS) inbox(w http.ResponseWriter, r *http.Request) {
	d := inboxData{Fault: s.currentFault(), Modes: faultModes}
	if s.clock != nil {
		d.Now = s.clock.Now()
	}
	messages := s.received(r.URL.Query().Get("to"))
	if r.URL.Query().Get("to") != "" && len(messages) > 0 {
		d.To = messages[0].To
	}
	for _, m := range slices.Backward(messages) {
		i := inboxMessage{To: m.To, Before: m.Body, At: m.At}
		if at := sixDigits.FindStringIndex(m.Body); at != nil {
			i.Before, i.Code, i.After = m.Body[:at[0]], m.Body[at[0]:at[1]], m.Body[at[1]:]
		}
		d.Messages = append(d.Messages, i)
	}
	var page bytes.Buffer
	if err := inboxPage.Execute(&page, d); err != nil {
		problem(w, http.StatusInternalServerError, "the page cannot be made: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = page.WriteTo(w) // the client has gone; nothing to do about it
}

func inboxCSS(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(inboxStyle) // the client has gone; nothing to do about it
}
