package gateway

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"testing"

	"sallyport/pkg/contract"
)

// TestANameForADeviceIsAsLongEverywhere: a form or a request that takes fewer characters than another would refuse to give
// back what it was given.
func TestANameForADeviceIsAsLongEverywhere(t *testing.T) {
	want := strconv.Itoa(contract.LongestLabel)
	for _, request := range []any{confirmRequest{}.Body, confirmTOTPRequest{}.Body, renameRequest{}.Body} {
		if f, ok := reflect.TypeOf(request).FieldByName("Label"); !ok || f.Tag.Get("maxLength") != want {
			t.Errorf("%T: maxLength %q, want %s", request, f.Tag.Get("maxLength"), want)
		}
	}
	field := regexp.MustCompile(`<input[^>]* name="label"[^>]*>`)
	for _, page := range []string{"account.html", "enroll-totp.html"} {
		raw, err := os.ReadFile(filepath.Join("..", "web", "templates", page))
		if err != nil {
			t.Fatal(err)
		}
		if m := field.FindString(string(raw)); !regexp.MustCompile(`maxlength="` + want + `"`).MatchString(m) {
			t.Errorf("%s takes another length: %s", page, m)
		}
	}
}
