package doctor

import (
	"slices"
	"strings"
)

// redirecting are the kernel's means to redirect, of which a netdev needs one of
// each list: module and option of the configuration.
var redirecting = [][][2]string{
	{{"sch_ingress", "CONFIG_NET_SCH_INGRESS"}},
	{{"act_mirred", "CONFIG_NET_ACT_MIRRED"}},
	{{"cls_matchall", "CONFIG_NET_CLS_MATCHALL"}, {"cls_u32", "CONFIG_NET_CLS_U32"}},
}

// checkRedirect never fails: only ports of kind netdev need it. Modules are loaded
// by the kernel when such a port is added.
func checkRedirect(f *facts) (status Status, found, fix string) {
	config, modules := f.kernelConfig(), "/lib/modules/"+f.Release
	loaded, installed := f.read("/proc/modules"), f.read(modules+"/modules.builtin")+f.read(modules+"/modules.dep")
	if config == "" && installed == "" {
		return Warn, "unknown: there is no /proc/config.gz and no " + modules, "try: vswitchctl port add LINK --kind netdev"
	}
	var have, lack, options []string
	for _, either := range redirecting {
		i := slices.IndexFunc(either, func(m [2]string) bool {
			// A module of the configuration may not be among those installed, of which
			// a container sees nothing.
			return hasLine(loaded, m[0]+" ") || strings.Contains(installed, "/"+m[0]+".ko") ||
				hasLine(config, m[1]+"=y") || hasLine(config, m[1]+"=m") && installed == "" && !f.exists("/lib/modules")
		})
		if i >= 0 {
			have = append(have, either[i][0])
			continue
		}
		var names, or []string
		for _, m := range either {
			names, or = append(names, m[0]), append(or, m[1])
		}
		lack, options = append(lack, strings.Join(names, " or ")), append(options, strings.Join(or, " or "))
	}
	if len(lack) > 0 {
		return Warn, "no port can be of kind netdev: the kernel lacks " + strings.Join(lack, ", "),
			"install all modules of this kernel, or boot one with " + strings.Join(options, ", ")
	}
	return OK, strings.Join(have, ", "), ""
}
