package bus

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"sallyport/pkg/contract"
)

// FuzzDecode reads anything as a message of ours. What is refused leaves nothing behind: no half-read message, and an
// error that does not repeat it, because the error goes into log and dead letter.
func FuzzDecode(f *testing.F) {
	for _, seed := range [][2]string{
		{contract.Version, `{"portal":"p","user":"u","code":"c2VhbGVk"}`},
		{contract.Version, `{"code":"123456"`},
		{contract.Version, `{"code":123456}`},
		{contract.Version, `{"portal":"p"}{"portal":"q"}`},
		{contract.Version, ""},
		{contract.Version, "null"},
		{"", "{}"},
		{"2", "{}"},
		{contract.Version, "[" + strings.Repeat("[", 9000)},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, version string, data []byte) {
		m, err := decode[contract.TOTPVerifyRequest](nats.Header{contract.HeaderVersion: {version}}, data)
		if version != contract.Version && err == nil {
			t.Fatalf("version %q is taken", version)
		}
		if err == nil {
			return
		}
		if version == contract.Version && err.Error() != "not a message of this subject" {
			t.Errorf("the error says more than that: %v", err)
		}
		if version != contract.Version && m != (contract.TOTPVerifyRequest{}) {
			t.Errorf("what is refused is read: %+v", m)
		}
	})
}
