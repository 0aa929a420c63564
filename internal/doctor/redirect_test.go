package doctor

import (
	"maps"
	"strings"
	"testing"
)

func TestNetdevsNeedTheKernelsRedirect(t *testing.T) {
	const dep, builtin = "lib/modules/6.1/modules.dep", "lib/modules/6.1/modules.builtin"
	ingress, mirred, u32 := "kernel/net/sched/sch_ingress.ko\n", "kernel/net/sched/act_mirred.ko.xz:\n", "kernel/net/sched/cls_u32.ko:\n"
	for name, tt := range map[string]struct {
		files      map[string]string
		status     Status
		found, fix string
	}{
		"in the configuration":     {map[string]string{"proc/config.gz": redirects}, OK, "sch_ingress, act_mirred, cls_u32", ""},
		"among the modules":        {map[string]string{builtin: ingress, dep: mirred + u32}, OK, "sch_ingress, act_mirred, cls_u32", ""},
		"loaded":                   {map[string]string{builtin: ingress, dep: mirred, "proc/modules": "cls_matchall 16384 2 - Live 0x0\n"}, OK, "cls_matchall", ""},
		"no classifier":            {map[string]string{builtin: ingress, dep: mirred}, Warn, "lacks cls_matchall or cls_u32", "CONFIG_NET_CLS_MATCHALL or CONFIG_NET_CLS_U32"},
		"no action":                {map[string]string{"proc/config.gz": strings.Replace(redirects, "CONFIG_NET_ACT_MIRRED=y", "", 1)}, Warn, "lacks act_mirred", "CONFIG_NET_ACT_MIRRED"},
		"a module, not installed":  {map[string]string{"proc/config.gz": redirects, "lib/modules/6.2/modules.dep": u32}, Warn, "lacks cls_matchall or cls_u32", "install all modules"},
		"the kernel does not tell": {nil, Warn, "unknown", "port add LINK --kind netdev"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			delete(f.files, "proc/config.gz")
			maps.Copy(f.files, tt.files)
			f.check(t, "tc redirect", tt.status, tt.found, tt.fix)
		})
	}
}
