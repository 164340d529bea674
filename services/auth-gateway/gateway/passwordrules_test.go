package gateway

import (
	"strings"
	"testing"

	"sallyport/pkg/secret"
)

func TestNewPasswordsAreLongAndTheirOwn(t *testing.T) {
	u := user{Email: "ada.moreau@contoso.test", Name: "Ada Moreau"}
	p := portal{Name: "Northwind Portal", PublicURL: "https://portal.northwind.example"}
	for typed, want := range map[string]string{
		"":                             passwordShort,
		"elevenchars":                  passwordShort,
		"éléphantrose":                 "",
		strings.Repeat("ab cd ", 60):   passwordLong,
		"password1234":                 passwordCommon,
		"P@ssw0rd-2026!":               passwordCommon,
		"qwertyuiop12":                 passwordCommon,
		"123456789012":                 passwordCommon,
		"aaaaaaaaaaaaaaa":              passwordCommon,
		"abcabcabcabcabc":              passwordCommon,
		"Welcome to 2026":              passwordCommon,
		"northwind moreau":             passwordKnown,
		"Ada.Moreau@contoso.test":      passwordKnown,
		"moreau likes green umbrellas": "",
		"seven green umbrellas":        "",
		"correct horse battery staple": passwordCommon,
	} {
		if got := weakness(secret.New(typed), u, p); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

// Every password of the list is refused in any case, with signs between its letters and with a little around it.
func TestTheMostUsedPasswordsAreRefused(t *testing.T) {
	if len(mostUsed) < 300 {
		t.Fatalf("the list has %d passwords", len(mostUsed))
	}
	for _, word := range mostUsed {
		for _, typed := range []string{word, strings.ToUpper(word), word[:4] + "-" + word[4:], word + "!", "1" + word + "2026", "my " + word} {
			if got := weakness(secret.New(typed), user{}, portal{}); got == "" {
				t.Errorf("%q is taken", typed)
			}
		}
	}
	if got := weakness(secret.New("Unbelievable!"), user{}, portal{}); got != passwordCommon {
		t.Errorf("one of the list is refused as %q", got)
	}
	if got := weakness(secret.New("an unbelievable green umbrella"), user{}, portal{}); got != "" {
		t.Errorf("a word of the list among others is refused: %q", got)
	}
}

func TestPicturesAreKnownByTheirBytes(t *testing.T) {
	for data, want := range map[string]string{
		"\x89PNG\r\n\x1a\n....": "image/png", "\xff\xd8\xff\xe0": "image/jpeg", "RIFF\x00\x00\x00\x00WEBPVP8 ": "image/webp",
		"<svg xmlns=''/>": "image/svg+xml", "\ufeff<?xml?>\n<!-- x -->\n<svg>": "image/svg+xml",
		"<svgx>": "", "<html><svg>": "", "": "", "GIF89a": "", "<?xml": "", "<!-- <svg> ": "",
	} {
		if got := imageType([]byte(data)); got != want {
			t.Errorf("%q is taken for %q, want %q", data, got, want)
		}
	}
}

func TestLinksOfAPortalRunNothing(t *testing.T) {
	for link, ok := range map[string]bool{
		"": true, "https://x.test/a?b=c": true, "mailto:help@x.test": true,
		"http://x.test": false, "javascript:alert(1)": false, "https://": false, "https://u:p@x.test": false, "https://x.test/\n": false, "data:text/html,x": false,
		"mailto:x": false, "//x.test": false, "https://x.test/" + strings.Repeat("a", 500): false,
	} {
		if err := checkLink("f", link); (err == nil) != ok {
			t.Errorf("%q: %v", link, err)
		}
	}
}
