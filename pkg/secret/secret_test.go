package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingPrintsASecret(t *testing.T) {
	s := New("hunter2")
	holder := struct {
		S String
		P *String
		s String
		p *String
	}{s, &s, s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", holder)
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("x", "a", s, "b", &s, "c", holder, slog.Group("g", "d", s))
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"a": s, "b": holder}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "68756e74657232") {
		t.Fatalf("a secret was printed:\n%s", out.String())
	}
	if s.Reveal() != "hunter2" {
		t.Fatal("Reveal lost the secret")
	}
}
