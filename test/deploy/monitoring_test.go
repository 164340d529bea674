package deploy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// The rules of the cluster are those of deploy/prometheus, word for word.
func TestPrometheusRulesAreThoseOfDeploy(t *testing.T) {
	files, err := filepath.Glob(at(t, "deploy", "prometheus", "rules", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no rules", err)
	}
	var want bytes.Buffer
	want.WriteString("# Made from deploy/prometheus/rules by go test ./test/deploy -update. Change them there.\n")
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		fmt.Fprintf(&want, "---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: sallyport-%s\nspec:\n", name)
		for line := range strings.Lines(string(read(t, f))) {
			if strings.TrimSpace(line) != "" {
				line = "  " + line
			}
			want.WriteString(line)
		}
	}
	shipped := at(t, "k8s", "overlays", "prod", "prometheus-rules.yaml")
	if *update {
		if err := os.WriteFile(shipped, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(read(t, shipped), want.Bytes()) {
		t.Errorf("%s is not what deploy/prometheus/rules says; go test ./test/deploy -update writes it", shipped)
	}
	if got := len(of[*monitoringv1.PrometheusRule](render(t, "prod"))); got != len(files) {
		t.Errorf("%d rule files, %d objects", len(files), got)
	}
}

// Prometheus finds every Pod's ops listener, under the labels that the rules want.
func TestPodMonitorFindsEveryService(t *testing.T) {
	all := render(t, "prod")
	m := named[*monitoringv1.PodMonitor](t, all, "sallyport")
	for _, d := range of[*appsv1.Deployment](all) {
		l := d.Spec.Template.Labels
		if !matches(t, &m.Spec.Selector, l) || l[m.Spec.JobLabel] != "sallyport" {
			t.Errorf("%s is not found, or as the job %q", d.Name, l[m.Spec.JobLabel])
		}
		e := m.Spec.PodMetricsEndpoints[0]
		if !slices.ContainsFunc(d.Spec.Template.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return e.Port != nil && p.Name == *e.Port }) {
			t.Errorf("%s has no port %v", d.Name, e.Port)
		}
		r := e.RelabelConfigs[0]
		if r.TargetLabel != "service" || r.SourceLabels[0] != "__meta_kubernetes_pod_label_app_kubernetes_io_name" || l["app.kubernetes.io/name"] != d.Name {
			t.Errorf("%s does not get its name: %+v", d.Name, r)
		}
	}
}

// The Prometheus of kube-prometheus-stack looks only at what has its release's name; Grafana's sidecar, at what has its label.
func TestMonitoringIsFound(t *testing.T) {
	all := render(t, "prod")
	found := []metav1.Object{named[*monitoringv1.PodMonitor](t, all, "sallyport")}
	for _, r := range of[*monitoringv1.PrometheusRule](all) {
		found = append(found, r)
	}
	for _, o := range found {
		if l := o.GetLabels(); l["release"] != "kube-prometheus-stack" || l["app.kubernetes.io/part-of"] != "sallyport" {
			t.Errorf("%T %s has the labels %v", o, o.GetName(), l)
		}
	}
	manual := string(read(t, at(t, "docs", "deploy.md")))
	for _, line := range []string{
		"create configmap sallyport-dashboards --from-file=deploy/grafana\n", "label configmap sallyport-dashboards grafana_dashboard=1\n", "podMonitor/sallyport/sallyport",
	} {
		if !strings.Contains(manual, line) {
			t.Errorf("docs/deploy.md does not say %q", line)
		}
	}
}

// KEDA looks at the consumer that sms-dispatcher has, in the account that nats-conf makes.
func TestScalerLooksAtTheRealConsumer(t *testing.T) {
	s := named[*scaledObject](t, render(t, "prod"), "sms-dispatcher")
	if len(s.Spec.Triggers) != 1 || s.Spec.Triggers[0].Type != "nats-jetstream" {
		t.Fatalf("triggers: %+v", s.Spec.Triggers)
	}
	got := s.Spec.Triggers[0].Metadata
	for key, want := range map[string]string{
		"account":  permit.Account,
		"stream":   string(contract.ChallengeRequested.Stream),
		"consumer": permit.Durable(contract.SMSDispatcher, contract.ChallengeRequested.Subject),
	} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	// All names that the scaler knows; KEDA ignores others without a word.
	knows := []string{"natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold", "activationLagThreshold", "useHttps"}
	for key := range got {
		if !slices.Contains(knows, key) {
			t.Errorf("the scaler knows no %s", key)
		}
	}
	if got["natsServerMonitoringEndpoint"] == "" || got["lagThreshold"] == "" {
		t.Errorf("the scaler lacks where to ask, or how much is much: %v", got)
	}
}

// Who may talk to whom: nobody, but for what is listed here. A policy more or less is seen.
func TestNetworkPoliciesSayWhoMayTalkToWhom(t *testing.T) {
	const (
		dns, cache, nats, mongo, world = "kube-system:53", "169.254.20.10:53", "nats:4222", "mongodb:27017", "the world:443"
		prometheus, ingress            = "monitoring→9090", "ingress-nginx→8080"
	)
	want := map[string][]string{
		"auth-gateway":   {dns, cache, nats, mongo, world, prometheus, ingress},
		"totp-svc":       {dns, cache, nats, mongo, prometheus},
		"policy-svc":     {dns, cache, nats, mongo, prometheus},
		"sms-dispatcher": {dns, cache, nats, mongo, world, prometheus},
		"nats-prepare":   {dns, cache, nats},
	}
	// What cert-manager starts here for the authority to ask is reached by it, and reaches nobody.
	solver := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"acme.cert-manager.io/http01-solver": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 8089}}}}},
	}
	want["solver"] = []string{"ingress-nginx→8089"}
	each(t, func(t *testing.T, _ string, all []metav1.Object) {
		everybody := pods(all)
		everybody["solver"] = solver
		for name, pod := range everybody {
			got := talks(t, all, name, pod)
			slices.Sort(want[name])
			if !slices.Equal(got, want[name]) {
				t.Errorf("%s: %v, want %v", name, got, want[name])
			}
		}
	})
}

// talks is whom a Pod may talk to, and who to it. One that no policy closes may talk to everybody.
func talks(t *testing.T, all []metav1.Object, name string, pod corev1.PodTemplateSpec) []string {
	t.Helper()
	var got []string
	closed := map[networkingv1.PolicyType]bool{}
	for _, p := range of[*networkingv1.NetworkPolicy](all) {
		if !matches(t, &p.Spec.PodSelector, pod.Labels) {
			continue
		}
		for _, kind := range p.Spec.PolicyTypes {
			closed[kind] = true
		}
		for _, r := range p.Spec.Egress {
			got = append(got, reached(t, r.To, ":", r.Ports, nil)...)
		}
		for _, r := range p.Spec.Ingress {
			got = append(got, reached(t, r.From, "→", r.Ports, &pod.Spec.Containers[0])...)
		}
	}
	if !closed[networkingv1.PolicyTypeIngress] || !closed[networkingv1.PolicyTypeEgress] {
		t.Errorf("%s is open", name)
	}
	slices.Sort(got)
	return slices.Compact(got)
}

// reached is a rule in words. An empty list of peers or ports would mean everybody and everything.
func reached(t *testing.T, peers []networkingv1.NetworkPolicyPeer, to string, ports []networkingv1.NetworkPolicyPort, own *corev1.Container) []string {
	t.Helper()
	if len(peers) == 0 || len(ports) == 0 {
		return []string{"everybody, everything"}
	}
	var out []string
	for _, peer := range peers {
		who := "everybody"
		switch {
		case peer.IPBlock != nil && strings.HasSuffix(peer.IPBlock.CIDR, "/32"):
			who = strings.TrimSuffix(peer.IPBlock.CIDR, "/32")
		case peer.IPBlock != nil:
			who = "the world"
			for _, inner := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} {
				if !slices.Contains(peer.IPBlock.Except, inner) {
					who = "the world with " + inner
				}
			}
		case peer.NamespaceSelector != nil:
			who = peer.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
		}
		for _, p := range ports {
			number := p.Port.String()
			if own != nil {
				number = fmt.Sprint(port(*own, *p.Port))
			}
			out = append(out, who+to+number)
		}
	}
	return out
}
