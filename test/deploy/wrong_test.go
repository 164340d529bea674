package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// Whatever is wrong with the settings of a service is said in one go, by name, before anybody is asked for anything; and
// nothing of a value that may hold a password.
func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	dir := t.TempDir()
	creds, keys := filepath.Join(dir, "creds"), filepath.Join(dir, "keys")
	write(t, creds, []byte("hunter2"))
	write(t, keys, []byte(`{"service":"nobody"}`))
	shared := map[string]string{
		"NATS_URL": "hunter2", "MONGODB_URI": "hunter2", "OPS_ADDR": "nonsense", "NATS_CREDS_FILE": creds, "KEYSET_FILE": keys, "NATS_REPLICAS": "2",
		"NATS_CA_FILE": "/nowhere/ca.pem", "START_TIMEOUT": "soon", "LOG_LEVEL": "LOUD", "OTEL_EXPORTER_OTLP_ENDPOINT": "garbage",
	}
	own := map[string]map[string]string{
		"auth-gateway": {
			"LISTEN_ADDR": "127.0.0.1:99999", "PUBLIC_URL": "garbage", "TRUSTED_PROXIES": "everybody", "STOP_DELAY": "1h", "PASSWORD_MEMORY_MIB": "1",
			"PASSWORD_LIMIT_ACCOUNT": "ten", "PASSWORD_LIMIT_NETWORK": "ten",
		},
		"sms-dispatcher": {
			"AWS_ENDPOINT_URL_SNS": "garbage", "AWS_REGION": "", "AWS_ACCESS_KEY_ID": "AKIA", "SMS_COUNTRIES": "XX", "SMS_WORKERS": "0", "SMS_SEND_TIMEOUT": "1h",
			"SMS_MAX_PRICE_USD": "cheap", "SMS_DAILY_BUDGET": "-1", "SMS_LIMIT_PERSON": "often",
		},
		"totp-svc": {}, "policy-svc": {},
	}
	for _, name := range services {
		// No file of this machine says a region.
		env := map[string]string{"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull}
		var want []string
		for _, part := range []map[string]string{shared, own[name]} {
			for k, v := range part {
				env[k] = v
				want = append(want, k)
			}
		}
		begun := time.Now()
		p := sut.Run(t, name, env)
		if status := p.Exit(20 * time.Second); status != 2 {
			t.Errorf("%s: status %d", name, status)
		}
		for _, k := range want {
			if !strings.Contains(p.Output(), "\n  "+k+": ") {
				t.Errorf("%s does not name %s", name, k)
			}
		}
		if lines := strings.Count(p.Output(), "\n  "); lines != len(want) {
			t.Errorf("%s names %d things, want %d", name, lines, len(want))
		}
		if strings.Contains(p.Output(), "hunter2") || time.Since(begun) > 10*time.Second {
			t.Errorf("%s says too much, or asks somebody first", name)
		}
		if t.Failed() {
			t.Log(p.Output())
		}
	}
}

// Everything in one process is four services with one environment: what is wrong for any of them is said in one go, once.
func TestAllThatIsWrongIsSaidAtOnceOfOneProcess(t *testing.T) {
	addrs := sut.FreeAddrs(t, 5)
	p := sut.Run(t, "sallyport", map[string]string{
		"PUBLIC_URL": "garbage", "SMS_WORKERS": "0", "NATS_REPLICAS": "2", "AWS_ENDPOINT_URL_SNS": "garbage", "AWS_REGION": "us-east-1",
	}, "up", "--data="+t.TempDir(), "--listen="+addrs[0], "--ops="+addrs[1], "--sandbox="+addrs[2], "--nats="+addrs[3], "--store="+addrs[4])
	if status := p.Exit(20 * time.Second); status != 2 {
		t.Errorf("status %d", status)
	}
	for _, k := range []string{"PUBLIC_URL", "SMS_WORKERS", "NATS_REPLICAS", "AWS_ENDPOINT_URL_SNS"} {
		if strings.Count(p.Output(), "\n  "+k+": ") != 1 {
			t.Errorf("it does not name %s, once:\n%s", k, p.Output())
		}
	}
}
