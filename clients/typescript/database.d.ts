/** Made from the database's catalog. Do not edit. */
export type Json =
  | string
  | number
  | boolean
  | null
  | { [key: string]: Json | undefined }
  | Json[]

export type Database = {
  public: {
    Tables: {
      user_integrations_zoom: {
        Row: {
          access_token: string | null
          access_token_expires_at: string
          account_deleted_at: string | null
          connected_at: string
          cooldown_until: string | null
          daily_limit_until: string | null
          expired_reason: string | null
          expires_at: string
          lease_holder: string | null
          lease_until: string | null
          refresh_token: string | null
          refreshed_at: string
          scope: string
          status: string
          token_version: number
          updated_at: string
          used_at: string
          user_id: string
          zoom_account_email: string | null
          zoom_account_id: string
          zoom_user_id: string
        }
        Insert: {
          access_token?: string | null
          access_token_expires_at: string
          account_deleted_at?: string | null
          connected_at?: string
          cooldown_until?: string | null
          daily_limit_until?: string | null
          expired_reason?: string | null
          expires_at: string
          lease_holder?: string | null
          lease_until?: string | null
          refresh_token?: string | null
          refreshed_at?: string
          scope: string
          status?: string
          token_version?: number
          updated_at?: string
          used_at?: string
          user_id: string
          zoom_account_email?: string | null
          zoom_account_id: string
          zoom_user_id: string
        }
        Update: {
          access_token?: string | null
          access_token_expires_at?: string
          account_deleted_at?: string | null
          connected_at?: string
          cooldown_until?: string | null
          daily_limit_until?: string | null
          expired_reason?: string | null
          expires_at?: string
          lease_holder?: string | null
          lease_until?: string | null
          refresh_token?: string | null
          refreshed_at?: string
          scope?: string
          status?: string
          token_version?: number
          updated_at?: string
          used_at?: string
          user_id?: string
          zoom_account_email?: string | null
          zoom_account_id?: string
          zoom_user_id?: string
        }
        Relationships: []
      }
      video_session_events: {
        Row: {
          created_at: string
          details: NonNullable<Json>
          id: number
          kind: string
          session_id: string | null
          user_id: string
        }
        Insert: {
          created_at?: string
          details?: NonNullable<Json>
          id?: number
          kind: string
          session_id?: string | null
          user_id: string
        }
        Update: {
          created_at?: string
          details?: NonNullable<Json>
          id?: number
          kind?: string
          session_id?: string | null
          user_id?: string
        }
        Relationships: []
      }
      video_session_host_meta: {
        Row: {
          created_at: string
          expires_at: string
          host_id: string
          host_start_url: string
          session_id: string
          updated_at: string
        }
        Insert: {
          created_at?: string
          expires_at: string
          host_id: string
          host_start_url: string
          session_id: string
          updated_at?: string
        }
        Update: {
          created_at?: string
          expires_at?: string
          host_id?: string
          host_start_url?: string
          session_id?: string
          updated_at?: string
        }
        Relationships: [
          {
            foreignKeyName: "video_session_host_meta_session_id_fkey"
            columns: ["session_id"]
            isOneToOne: true
            referencedRelation: "video_sessions"
            referencedColumns: ["id"]
          },
        ]
      }
      video_session_invites: {
        Row: {
          host_id: string
          session_id: string
          share_code: string
        }
        Insert: {
          host_id: string
          session_id: string
          share_code?: string
        }
        Update: {
          host_id?: string
          session_id?: string
          share_code?: string
        }
        Relationships: [
          {
            foreignKeyName: "video_session_invites_session_id_fkey"
            columns: ["session_id"]
            isOneToOne: true
            referencedRelation: "video_sessions"
            referencedColumns: ["id"]
          },
        ]
      }
      video_session_participants: {
        Row: {
          created_at: string
          host_id: string
          role: string
          session_id: string
          user_id: string
        }
        Insert: {
          created_at?: string
          host_id?: string
          role?: string
          session_id: string
          user_id: string
        }
        Update: {
          created_at?: string
          host_id?: string
          role?: string
          session_id?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: "video_session_participants_session_id_fkey"
            columns: ["session_id"]
            isOneToOne: false
            referencedRelation: "video_sessions"
            referencedColumns: ["id"]
          },
        ]
      }
      video_sessions: {
        Row: {
          created_at: string
          description: string
          duration_minutes: number
          ended_at: string | null
          host_id: string
          id: string
          join_url: string
          max_participants: number
          passcode: string | null
          provider: string
          provider_meeting_id: string | null
          scheduled_start: string
          settings: NonNullable<Json>
          started_at: string | null
          status: string
          timezone: string
          title: string
          updated_at: string
          phase: string | null
          zoom_account: string | null
        }
        Insert: {
          created_at?: string
          description?: string
          duration_minutes: number
          ended_at?: string | null
          host_id?: string
          id?: string
          join_url: string
          max_participants: number
          passcode?: string | null
          provider: string
          provider_meeting_id?: string | null
          scheduled_start: string
          settings?: NonNullable<Json>
          started_at?: string | null
          status?: string
          timezone?: string
          title: string
          updated_at?: string
        }
        Update: {
          created_at?: string
          description?: string
          duration_minutes?: number
          ended_at?: string | null
          host_id?: string
          id?: string
          join_url?: string
          max_participants?: number
          passcode?: string | null
          provider?: string
          provider_meeting_id?: string | null
          scheduled_start?: string
          settings?: NonNullable<Json>
          started_at?: string | null
          status?: string
          timezone?: string
          title?: string
          updated_at?: string
        }
        Relationships: []
      }
    }
    Views: {
      [_ in never]: never
    }
    Functions: {
      can_host_video_sessions: { Args: { user_id: string }; Returns: boolean }
      confirm_zoom_connection: { Args: { handle: string }; Returns: undefined }
      my_video_sessions: {
        Args: {
          after_id?: string
          after_start?: string
          page_size?: number
          phase: string
        }
        Returns: {
          created_at: string
          description: string
          duration_minutes: number
          ended_at: string | null
          host_id: string
          id: string
          join_url: string
          max_participants: number
          passcode: string | null
          provider: string
          provider_meeting_id: string | null
          scheduled_start: string
          settings: NonNullable<Json>
          started_at: string | null
          status: string
          timezone: string
          title: string
          updated_at: string
        }[]
        SetofOptions: {
          from: "*"
          to: "video_sessions"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      phase: {
        Args: { session: Database["public"]["Tables"]["video_sessions"]["Row"] }
        Returns: string
      }
      renew_share_code: { Args: { session_id: string }; Returns: undefined }
      video_session_display_name: { Args: { user_id: string }; Returns: string }
      video_sessions_waiting: {
        Args: Record<PropertyKey, never>
        Returns: {
          kind: string
          reason: string
          session_id: string
          since: string
        }[]
      }
      zoom_account: {
        Args: { session: Database["public"]["Tables"]["video_sessions"]["Row"] }
        Returns: string
      }
      zoom_connection: { Args: Record<PropertyKey, never>; Returns: Json }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
}

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] &
        DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] &
        DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R
      }
      ? R
      : never
    : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I
      }
      ? I
      : never
    : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U
      }
      ? U
      : never
    : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
    : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
    : never
