package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// FuzzFormat: no format, and no handler, prints a secret, however deep it lies.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%T", "%10.3s", "%[1]*[1]d", "%!", "%w", "%-+ #0v", "%U", "%c", "%b", "%t", "%e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, format string) {
		const hidden = "XxhiddenxX"
		type inner struct {
			Exported String
			kept     String
		}
		s := New(hidden)
		if strings.Contains(format, hidden) {
			return
		}
		var log strings.Builder
		values := []any{s, &s, []String{s}, map[string]String{"k": s}, inner{s, s}, &inner{s, s}}
		for _, v := range values {
			log.WriteString(fmt.Sprintf(format, v)) //nolint:staticcheck // the format is the point
			raw, _ := json.Marshal(v)               // what cannot be written is not
			log.Write(raw)
		}
		slog.New(slog.NewTextHandler(&log, nil)).Info(format, slog.Any("s", s), slog.Any("many", values))
		if got := log.String(); strings.Contains(got, hidden) || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", hidden)) {
			t.Errorf("the format %q prints it: %s", format, got)
		}
	})
}
