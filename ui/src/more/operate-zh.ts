import type { OperateKey } from './operate-en';

export const zh: Record<OperateKey, string> = {
  'place.fleet': '主机',
  'fleet.none': '还没有主机加入。', 'fleet.noneHint': '请生成加入令牌，并在第一台主机上运行其命令。',
  'fleet.join': '添加主机', 'fleet.since': '此状态始于', 'fleet.address': '连接方式', 'fleet.tunnel': '经由其隧道',
  'fleet.forget': '移除', 'fleet.forgetTitle': '移除 {name}？', 'fleet.forgetHint': '其证书立即失效，进行中的会话也会终止；再次使用需重新加入。请输入名称以确认。',
  'fleet.behind': '比网关（{version}）旧',
  'users.edit': '修改', 'users.editTitle': '修改 {name}', 'users.by': '创建者', 'users.until': '可登录至', 'users.saved': '已修改：{name}。进行中的会话会在数秒内生效。',
  'tokens.labels': '其节点的标签（key=value，以逗号分隔）', 'tokens.proxy': '经由 HTTP 代理', 'tokens.docker': '作为 systemd 服务', 'tokens.ask': '主机只需要 moongate 程序和到网关的出站连接；它不监听任何端口。',
  'roles.remove': '删除', 'roles.removeTitle': '删除 {name}？', 'roles.removeHint': '只有无人持有的角色才能删除。请输入名称以确认。',
  'roles.line': '第 {line} 行：{what}', 'roles.review': '查看更改', 'roles.diff': '{name} 的更改', 'roles.same': '没有更改。', 'roles.skipped': '…… {n} 行未变', 'roles.skipped_one': '…… {n} 行未变', 'roles.added': '新增', 'roles.gone': '移除', 'roles.back': '返回编辑', 'roles.good': '格式正确。',
  'roles.badYaml': '不是有效的 YAML：{why}', 'roles.unknown': '此处不认识“{key}”', 'roles.missing': '缺少“{key}”', 'roles.notList': '“{key}”必须是列表', 'roles.notText': '“{key}”必须是文本', 'roles.notMap': '“{key}”必须是映射',
  'events.types': '事件类型', 'events.more': '此用户的更多事件', 'events.session': '此会话的全部事件', 'events.copy': '复制为 JSON', 'events.all': '导出全部匹配项', 'events.exporting': '已导出 {n} 条……', 'events.what': '内容', 'events.fields': '字段', 'events.json': 'JSON 原文', 'events.clear': '清除筛选',
  'events.cut': '只导出了最新的 {n} 条：请缩小时间范围以获取其余部分。',
};
