import type { ToldKey } from './words-en';

export const zh: Record<ToldKey, string> = {
  'told.badge': '正在录制', 'told.badgeHint': '此终端显示的内容会被录制。',
  'told.badgeKeys': '此终端显示的内容和您的键入会被录制。',
  'told.title': '此处的会话会被录制',
  'told.why': '本网关的管理者会录制在节点上进行的操作。打开第一个会话之前，需要征得您的同意。',
  'told.what': '保留的内容',
  'told.screen': '终端显示的全部内容，以及每次变化的时间。',
  'told.keys': '您键入的内容。', 'told.noKeys': '不保留您键入的内容，除非终端将其显示出来。',
  'told.commands': '不带终端的命令：命令本身、结束方式，以及输入和输出的前 1 MB。',
  'told.files': '您传输的文件：路径、大小和 SHA-256，不含文件内容。',
  'told.who': '您的身份、地址、节点、账号、开始和结束的时间，以及您已同意这一事实。',
  'told.look': '有相应权限的人可以在会话进行时观看，也可以事后查看。',
  'told.yes': '我同意', 'told.no': '暂不',
  'told.after': '在您退出登录之前，对您打开的每个会话都有效。',
};
