package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/pkg/contract"
)

// FuzzKeyFile reads anything as a key file. What is taken is this service's, has long keys only, and seals so that it
// opens at its own place; what is refused gives no keys.
func FuzzKeyFile(f *testing.F) {
	dir := f.TempDir()
	paths, err := Generate(filepath.Join(dir, "keys"), []contract.Service{contract.TOTP}, false)
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(paths[contract.TOTP])
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{
		good, good[:len(good)/2],
		{},
		[]byte("null"), []byte(`{"service":"totp-svc","store":null,"bus":{}}`),
		bytes.Replace(good, []byte("AesGcmKey"), []byte("AesEaxKey"), 1), bytes.Replace(good, []byte("ENABLED"), []byte("DISABLED"), 1),
		bytes.Replace(good, []byte("TINK"), []byte("RAW"), 1), bytes.Replace(good, []byte("SYMMETRIC"), []byte("REMOTE"), 1), bytes.Replace(good, []byte("totp-svc"), []byte("policy-svc"), 1),
	} {
		f.Add(seed)
	}
	path := filepath.Join(dir, "fuzzed.json")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := Load(path, contract.TOTP)
		if err != nil {
			if keys != nil {
				t.Error("a file that is refused gives keys")
			}
			return
		}
		type keyset struct {
			Key []struct {
				KeyData struct {
					Value string `json:"value"`
				} `json:"keyData"`
			} `json:"key"`
		}
		var file struct {
			Service    string `json:"service"`
			Store, Bus keyset
		}
		if err := json.Unmarshal(raw, &file); err != nil || file.Service != string(contract.TOTP) {
			t.Errorf("taken, though it belongs to %q: %v", file.Service, err)
		}
		for _, set := range []keyset{file.Store, file.Bus} {
			for _, k := range set.Key {
				// Either alphabet, with padding or without, as the JSON of protocol buffers is read.
				text := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(k.KeyData.Value)
				if value, err := base64.RawStdEncoding.DecodeString(text); err != nil || len(value) < 32 {
					t.Errorf("taken with a key of %d bytes: %v", len(value), err)
				}
			}
		}
		for _, box := range []*Box{keys.Store, keys.Bus} {
			sealed, err := box.Seal([]byte("a seed"), Place{"p", "c", "f", "u"})
			if err != nil {
				t.Fatal(err)
			}
			if out, err := box.Open(sealed, Place{"p", "c", "f", "u"}); err != nil || string(out) != "a seed" {
				t.Errorf("what was sealed opens as %q, %v", out, err)
			}
			if _, err := box.Open(sealed, Place{"p", "c", "f", "v"}); err == nil {
				t.Error("what was sealed opens elsewhere")
			}
		}
	})
}
