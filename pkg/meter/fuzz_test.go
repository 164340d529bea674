package meter

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzParse: what is taken as limits can be written down again, means the same then, and is within what is allowed.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"5/10m,15/24h", "off", " off ", "1/1m", "1/1m,2/1h,3/2h,4/3h,5/4h", "0/10m", "-1/10m", "5/10m,6/600s", "5/90s", "5/25h", "1/1e3m", "+5/10m", "5 / 10m", "5/10m,", "9223372036854775808/1h", "5/1h0m0.0s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		limits, err := Parse(text)
		if err != nil {
			if limits != nil {
				t.Errorf("%q is refused, and read as %v", text, limits)
			}
			return
		}
		if len(limits) == 0 {
			if strings.TrimSpace(text) != "off" {
				t.Errorf("%q is no limit at all", text)
			}
			return
		}
		parts := make([]string, 0, len(limits))
		for _, l := range limits {
			if l.Most < 1 || l.Window < time.Minute || l.Window > Day || l.Window%time.Minute != 0 {
				t.Errorf("%q is read as %v", text, l)
			}
			parts = append(parts, fmt.Sprintf("%d/%s", l.Most, l.Window))
		}
		if again, err := Parse(strings.Join(parts, ",")); err != nil || !slices.Equal(again, limits) {
			t.Errorf("%q is read as %v, and that as %v, %v", text, limits, again, err)
		}
	})
}
